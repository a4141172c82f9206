"""The operations that `operations.py` tries, with what one should know of each, and what is expected of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr


def as_it_is(result: xr.DataArray) -> xr.DataArray:
    """Return the result."""
    return result


@dataclass(frozen=True)
class Operation:
    """One row of the page.

    Attributes
    ----------
    group : str
        Heading.
    code : str
        A line on the images a and b (alike), with np and xr.
    expected : str
        Verdict: ``right``, ``refuses``, ``affine raises`` or ``WRONG``.
    advice : str
        What to do, or to know.
    at : float, optional
        Time that the values of a result without ``tag`` belong to, s.
    undo : callable
        Makes of the result values that tell their place again, keeping its labels.
    """

    group: str
    code: str
    expected: str = "right"
    advice: str = ""
    at: float | None = None
    undo: Callable[[xr.DataArray], xr.DataArray] = as_it_is


PER_MM, PER_SECOND = (1.0, 0.37, -0.73), 0.5  # what values grow by, along x, y, z and with time
REPAIR = "`.imd.repair()` before combining it with another image"
MIDDLE = 18.0  # s: mean and median of 0, 12, 24, 36
_SELECT = "Select"
_COMBINE = "Combine"
_COMPUTE = "Compute"
_REDUCE = "Reduce"
_RESAMPLE = "Resample"
_ARRANGE = "Arrange"
_PATIENTS = "Two patients: `c` is another's"
_KNOW = "What cannot be guarded"

OPERATIONS = (
    Operation(_SELECT, "a.isel(row=slice(1, 4), col=slice(None, None, 2))"),
    Operation(_SELECT, "a.isel(row=slice(None, None, -1))", advice="the way to flip an image with its labels"),
    Operation(_SELECT, "a.isel(slice=1)", advice="spacing and position stay"),
    Operation(_SELECT, "a.isel(slice=[0, 2])"),
    Operation(_SELECT, "a.isel(row=[0, 1, 4])", "affine raises", "uneven: the labels are right, one step there is not"),
    Operation(_SELECT, "a.isel(slice=0, drop=True)", "affine raises", "without `drop` the position stays"),
    Operation(_SELECT, "a.isel(tag=0, drop=True)", at=0.0),
    Operation(_SELECT, "a.sel(slice=-4.001)", advice="the nearest label within 0.01 mm"),
    Operation(_SELECT, "a.sel(row=slice(31, 37))", advice="mm, both ends included"),
    Operation(_SELECT, "a.isel(row=slice(None, None, -1)).sel(row=slice(31, 37))", advice="bounds in either order"),
    Operation(_SELECT, "a.sel(col=-10.4, method='nearest')"),
    Operation(_SELECT, "a.sel(row=33.3)", "refuses", "`method='nearest'`, or `interp`"),
    Operation(_SELECT, "a.sel(tag=slice(0, 30))", advice="s since the epoch"),
    Operation(_SELECT, "a.where(a.row > 33, drop=True)"),
    Operation(_SELECT, "a.thin(row=2)"),
    Operation(_SELECT, "a.to_dataset(name='image').query(row='row > 33')['image']", advice=REPAIR),
    Operation(_COMBINE, "(a + b) / 2"),
    Operation(_COMBINE, "(a + b.isel(row=slice(None, None, -1))) / 2", advice="a flipped axis aligns by its labels"),
    Operation(_COMBINE, "a + b.isel(row=slice(0, 3))", "refuses", "`imd.interp_like`, or select the same part of a"),
    Operation(_COMBINE, "a + b.assign_coords(row=b.row + 1).imd.repair()", "refuses",
              "`imd.interp_like`, `imd.assign_grid`"),
    Operation(_COMBINE, "a - a.isel(tag=0, drop=True)",
              advice="each volume less the first; `instance` differs and goes",
              undo=lambda r: r + _place(r)),
    Operation(_COMBINE, "a - a.isel(tag=0)", advice="right, and the coords of volumes go: `drop=True` keeps them",
              undo=lambda r: r + _place(r)),
    Operation(_COMBINE, "a.where(b > -1e9)"),
    Operation(_COMBINE, "xr.where(a > 0, a, b)", advice="attrs of the first"),
    Operation(_COMBINE, "xr.where(b < -1e9, 0, a)", advice="a number first: the attrs go, and with them the patient; "
              "`a.where(b >= -1e9, 0)` keeps all"),
    Operation(_COMBINE, "a.fillna(b)", advice="attrs of the first"),
    Operation(_COMBINE, "a.combine_first(b)", advice="attrs of the first"),
    Operation(_COMBINE, "a.dot(xr.ones_like(a.tag) / 4, dim='tag')", at=MIDDLE),
    Operation(_COMBINE, "xr.concat([a.isel(tag=[0, 1]), a.isel(tag=[2, 3])], 'tag')",
              advice="times of other epochs raise, with the way to shift them"),
    Operation(_COMBINE, "xr.concat([a.isel(slice=[0]), a.isel(slice=[1, 2])], 'slice')"),
    Operation(_COMBINE, "xr.concat([a.isel(slice=k) for k in range(3)], 'slice').transpose('tag', ...)",
              advice=f"{REPAIR}; `isel(slice=[k])` keeps the indexes"),
    Operation(_COMBINE, "xr.concat([a.isel(row=[0]), a.isel(row=[2, 3])], 'row')", "affine raises", "a gap: uneven"),
    Operation(_COMBINE, "xr.merge([a.rename('p'), b.rename('q')], compat='no_conflicts')['p']"),
    Operation(_COMPUTE, "a.astype('float64') * 1"),
    Operation(_COMPUTE, "np.sqrt(a**2) * np.sign(a)"),
    Operation(_COMPUTE, "a.clip(-1e9, 1e9)"),
    Operation(_COMPUTE, "xr.apply_ufunc(np.add, a, 0 * b)", advice="attrs of the first"),
    Operation(_COMPUTE, "a.chunk(tag=1).map_blocks(lambda x: x + 0)"),
    Operation(_COMPUTE, "xr.apply_ufunc(np.copy, a.chunk(tag=1), dask='parallelized', output_dtypes=[a.dtype])"),
    Operation(_COMPUTE, "a.rolling(row=3, center=True).mean()", advice="NaN at the borders"),
    Operation(_COMPUTE, "a.where(a.tag != 12).interpolate_na('tag')"),
    Operation(_COMPUTE, "(a.isel(tag=0, slice=0).plot(), a)[1]",
              advice="mm on both axes; `yincrease=False` for the usual view"),
    Operation(_REDUCE, "a.mean('tag')", at=MIDDLE, advice="patient, study and position stay"),
    Operation(_REDUCE, "a.median('tag')", at=MIDDLE),
    Operation(_REDUCE, "a.quantile(0.5, 'tag')", at=MIDDLE,
              advice="drops patient and study: `median` keeps them, `imd.assign_header(a)` gives them back"),
    Operation(_REDUCE, "a.weighted(xr.ones_like(a.tag)).mean('tag')", at=MIDDLE),
    Operation(_REDUCE, "a.groupby('tag').mean('tag')", advice=REPAIR),
    Operation(_REDUCE, "a.groupby_bins('tag', [-1, 13, 40]).mean().isel(tag_bins=0)", at=6.0,
              advice="the bins are a dim of their own: `coarsen` keeps `tag`"),
    Operation(_REDUCE, "a.mean('slice')", "affine raises", "a position is lost: `assign_coords(slice=...)` says it"),
    Operation(_REDUCE, "a.mean('slice', keepdims=True)", "affine raises", "`coarsen(slice=n)` keeps the label"),
    Operation(_REDUCE, "a.polyfit('tag', 1).polyfit_coefficients.sel(degree=0)", "affine raises",
              "drops `geometry` and identity: `imd.assign_grid(a)`, `imd.assign_header(a)`"),
    Operation(_REDUCE, "a.curvefit('tag', lambda t, m, k: m * t + k).curvefit_coefficients.isel(param=1)", at=0.0),
    Operation(_RESAMPLE, "a.coarsen(row=2, col=2).mean()", advice=REPAIR),
    Operation(_RESAMPLE, "a.coarsen(tag=2).mean()", advice=f"times are averaged; {REPAIR}"),
    Operation(_RESAMPLE, "a.coarsen(slice=3).mean()", "affine raises", "a single slice is left: say its spacing"),
    Operation(_RESAMPLE, "a.coarsen(slice=3).mean().isel(slice=0)", "affine raises",
              "`.imd.repair()` before selecting"),
    Operation(_RESAMPLE, "a.interp(row=np.linspace(30, 40, 9))", advice=REPAIR),
    Operation(_RESAMPLE, "a.interp(tag=[6.0, 18.0])", advice=REPAIR),
    Operation(_RESAMPLE, "a.interp(slice=-6.0)", "affine raises", "a plane between slices has no spacing: say it"),
    Operation(_RESAMPLE, "a.interp_like(a.isel(row=slice(0, 4)))",
              advice="along the image axes only; `imd.interp_like` works in patient space"),
    Operation(_RESAMPLE, "a.imd.interp_like(a.isel(row=slice(0, 4)))"),
    Operation(_RESAMPLE, "a.reindex(row=[30.0, 32.0])", "refuses", "`sel` for a part, `interp` for other positions"),
    Operation(_RESAMPLE, "a.reindex_like(a.isel(row=slice(None, None, -1)))"),
    Operation(_RESAMPLE, "a.reindex_like(a.isel(row=slice(0, 3)))", "refuses", "`sel`"),
    Operation(_RESAMPLE, "a.pad(row=1)", "affine raises",
              "the new labels are NaN: `interp` beyond the border, or say them"),
    Operation(_RESAMPLE, "a.pad(row=1, mode='edge')", "affine raises", "the labels are repeated: the same"),
    Operation(_ARRANGE, "a.transpose('col', 'row', 'slice', 'tag')", advice="writing puts the dims in order"),
    Operation(_ARRANGE, "a.isel(slice=1).expand_dims('slice')", advice=REPAIR),
    Operation(_ARRANGE, "a.stack(p=('row', 'col'))", "affine raises", "`unstack` first"),
    Operation(_ARRANGE, "a.stack(p=('row', 'col')).unstack('p')", advice=REPAIR),
    Operation(_ARRANGE, "a.isel(row=slice(None, None, -1)).sortby('row')"),
    Operation(_ARRANGE, "a.roll(row=1, roll_coords=True)", "affine raises", "uneven"),
    Operation(_ARRANGE, "a.drop_vars('geometry')",
              advice="the indexes know it, with a warning if not all three are there; without any, it raises"),
    Operation(_ARRANGE, "a.drop_attrs()", "affine raises", "`imd.assign_grid`, `imd.assign_header`"),
    Operation(_ARRANGE, "a.to_series().to_xarray()", "affine raises", "`imd.assign_grid(a)`, `imd.assign_header(a)`"),
    Operation(_PATIENTS, "(a + c) / 2", advice="nobody's: the writer leaves the patient empty, and says so"),
    Operation(_PATIENTS, "a.where(a > 0, c)", advice="the same, although the attrs are those of a"),
    Operation(_PATIENTS, "xr.concat([a, c], 'subject', coords='different', compat='equals').isel(subject=1)",
              advice="c's digest; the attrs are a's, so that the writer leaves the patient empty"),
    Operation(_PATIENTS, "xr.concat([a, c], 'subject', coords='minimal', compat='override').isel(subject=1)",
              advice="**a's name on c's voxels**: never override, also not by xarray's coming defaults"),
    Operation(_PATIENTS, "c.assign_coords(tag=a.tag)",
              advice="brings a's digest: `tag=a.tag.variable`, or `imd.assign_tags(a)`, does not"),
    Operation(_PATIENTS, "a.imd.assign_header(c)", "refuses", "`relabel=True` if it is meant"),
    Operation(_KNOW, "a.roll(row=1)", "WRONG", "values move under their labels"),
    Operation(_KNOW, "a.shift(row=1)", "WRONG", "the same"),
    Operation(_KNOW, "a.copy(data=np.flip(a.values, 2))", "WRONG", "`isel(row=slice(None, None, -1))` flips both"),
    Operation(_KNOW, "xr.apply_ufunc(lambda v: v[..., ::-1], a)", "WRONG", "a function that moves values"),
    Operation(_KNOW, "a.rolling(row=3).mean()", "WRONG", "half a window off: `center=True`"),
    Operation(_KNOW, "a.diff('row')", "WRONG", "a difference lies between two voxels, the label is that of the second",
              undo=lambda r: _place(r) - r / 2 + PER_SECOND * r.tag),
    Operation(_KNOW, "a[{'tag': 0}] = b.isel(tag=1).values", "WRONG", "assignment compares nothing"),
    Operation(_KNOW, "a.data[:] = np.flip(a.values, 3).copy()", "WRONG", "nor does this"),
    Operation(_KNOW, "a += 0 * b", advice="the grid is compared; attrs and identity of a stay, whoever b is"),
    Operation(_KNOW, "xr.concat([a.isel(tag=0), b.isel(tag=1)], 'tag')",
              advice="single volumes of two runs have two epochs, which nothing compares: `isel(tag=[0])` does"),
)  # fmt: skip


def _place(result: xr.DataArray) -> xr.DataArray:
    """Value of the position alone, from the labels."""
    direction = result.geometry.attrs["direction"]
    parts = (
        result[name] * sum(w * direction[3 * k + axis] for k, w in enumerate(PER_MM))
        for axis, name in enumerate(("slice", "row", "col"))
    )
    total = sum(part.reset_coords(drop=True) for part in parts)
    assert isinstance(total, xr.DataArray)
    return total
