"""Panels of the dashboards: Grafana's own, with defaults that make them readable at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, statetimeline
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as commons
from grafana_foundation_sdk.models import dashboard as boards
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models import prometheus as queries
from grafana_foundation_sdk.models import units

from evalrun_api import Phase
from evalrun_monitoring.promql import VERDICTS

DATASOURCE = boards.DataSourceRef(type_val="prometheus", uid="${datasource}")

NUMBER = units.LocaleFormat
"""Unit of numbers: 1,059 and 1,200, which Grafana's short numbers would both show as 1 K."""
ITEMS_PER_SECOND = "suffix:items/s"
TOKENS_PER_SECOND = "suffix:tokens/s"
GPU_HOURS = "suffix:GPU-h"

TOP = 10
"""Number of runs in a graph or a ranking, so that it stays readable."""
BY_RUN = "{{run_namespace}}/{{run}}"
"""Legend of lines and bars that each represent a run."""

GOOD, NEUTRAL, BUSY, WARNING, BAD, IDLE = "green", "blue", "purple", "orange", "red", "gray"

PHASE_COLORS: Mapping[str, str] = {
    Phase.PENDING: IDLE,
    Phase.QUEUED: "yellow",
    Phase.STARTING: NEUTRAL,
    Phase.RUNNING: GOOD,
    Phase.SUSPENDED: WARNING,
    Phase.FINISHING: BUSY,
    Phase.SUCCEEDED: "dark-green",
    Phase.FAILED: BAD,
    Phase.INVALID: "dark-red",
    Phase.CANCELLED: "dark-orange",
}
VERDICT_COLORS: Mapping[str, str] = dict(zip(VERDICTS, (GOOD, WARNING, BAD), strict=True))
ITEM_COLORS: Mapping[str, str] = {
    "ok": GOOD,
    "failed": WARNING,
    "quarantined": BAD,
    "leased": NEUTRAL,
    "waiting": IDLE,
    "skipped": BUSY,
}
REPLICA_COLORS: Mapping[str, str] = {"loading": NEUTRAL, "ready": GOOD}
DEPARTURE_COLORS: Mapping[str, str] = {"crashed": BAD, "hung": WARNING, "lost": BUSY, "drained": IDLE}

Target = prometheus.Dataquery
Property = boards.DynamicConfigValue
Drawn = TypeVar("Drawn", series.Panel, bargauge.Panel)
_STEPS = commons.LineInterpolation.STEP_AFTER


def query(expr: str, legend: str = "") -> Target:
    """Make a query over the time shown; ``legend`` names its series, with labels as ``{{label}}``."""
    target = prometheus.Dataquery().expr(expr).range().editor_mode(queries.QueryEditorMode.CODE)
    return target.legend_format(legend or "__auto").datasource(DATASOURCE)


def now(expr: str, legend: str = "") -> Target:
    """Make a query at the end of the time shown."""
    return query(expr, legend).instant()


def course(title: str, text: str, unit: str, *targets: Target) -> series.Panel:
    """Build a panel of lines over time, scaled to their range."""
    panel = series.Panel().title(title).description(text).unit(unit).datasource(DATASOURCE).targets(lettered(targets))
    panel = panel.line_width(2).fill_opacity(8).show_points(commons.VisibilityMode.NEVER)
    panel = panel.legend(
        common.VizLegendOptions()
        .display_mode(commons.LegendDisplayMode.LIST)
        .placement(commons.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )
    tooltip = common.VizTooltipOptions().mode(commons.TooltipDisplayMode.MULTI).sort(commons.SortOrder.DESCENDING)
    return panel.tooltip(tooltip).span(12).height(8)


def lines(title: str, text: str, unit: str, *targets: Target) -> series.Panel:
    """Build a panel of lines over time, from 0 up."""
    return course(title, text, unit, *targets).min(0)


def counts(title: str, text: str, *targets: Target) -> series.Panel:
    """Build a panel of whole numbers over time."""
    return _whole(lines(title, text, NUMBER, *targets)).line_interpolation(_STEPS)


def stacked(title: str, text: str, unit: str, *targets: Target) -> series.Panel:
    """Build a panel of stacked areas over time: parts of a whole."""
    # Without lines: the line of a part that is 0 would run along the top of the others.
    panel = lines(title, text, unit, *targets).fill_opacity(60).line_width(0)
    return panel.stacking(common.StackingConfig().mode(commons.StackingMode.NORMAL).group("A"))


def stacked_counts(title: str, text: str, *targets: Target) -> series.Panel:
    """Build a panel of stacked whole numbers over time."""
    return _whole(stacked(title, text, NUMBER, *targets)).line_interpolation(_STEPS)


def bars(title: str, text: str, *targets: Target) -> series.Panel:
    """Build a panel of stacked bars: events in each step of time; see ``promql.events``."""
    panel = _whole(stacked(title, text, NUMBER, *targets)).fill_opacity(80)
    # $__rate_interval is then a step plus a scrape, so that each step contains all events since the last one's end.
    return panel.draw_style(commons.GraphDrawStyle.BARS).interval("5m")


def _whole(panel: series.Panel) -> series.Panel:
    """Use an axis of whole numbers, up to 1 where all are 0."""
    return panel.decimals(0).axis_soft_max(1)


def figure(title: str, text: str, unit: str, *targets: Target) -> stat.Panel:
    """Build a panel of one large number; green unless ``thresholds`` say otherwise."""
    panel = stat.Panel().title(title).description(text).unit(unit).datasource(DATASOURCE).targets(lettered(targets))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel = panel.graph_mode(commons.BigValueGraphMode.NONE).color_mode(commons.BigValueColorMode.VALUE)
    return panel.thresholds(steps(GOOD)).span(4).height(4)


def name(title: str, text: str, *targets: Target) -> stat.Panel:
    """Build a panel of one large word: the name of the series."""
    return figure(title, text, units.NoUnit, *targets).text_mode(commons.BigValueTextMode.NAME)


def ranking(title: str, text: str, unit: str, *targets: Target) -> bargauge.Panel:
    """Build a panel of a bar for the present value of each series."""
    panel = bargauge.Panel().title(title).description(text).unit(unit).datasource(DATASOURCE)
    panel = panel.targets(lettered(targets)).min(0).thresholds(steps(NEUTRAL))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel = panel.orientation(commons.VizOrientation.HORIZONTAL).display_mode(commons.BarGaugeDisplayMode.BASIC)
    panel = panel.sizing(commons.BarGaugeSizing.MANUAL).min_viz_height(16).max_viz_height(20).min_viz_width(8)
    panel = panel.name_placement(commons.BarGaugeNamePlacement.LEFT)
    panel = panel.text(common.VizTextDisplayOptions().value_size(14))
    # Grafana names a single bar only if the name is set.
    return panel.display_name("${__field.displayName}").span(12).height(8)


def timeline(title: str, text: str, *targets: Target) -> statetimeline.Panel:
    """Build a panel of the states of each series over time; values need mappings."""
    panel = statetimeline.Panel().title(title).description(text).unit(units.NoUnit).datasource(DATASOURCE)
    panel = panel.targets(lettered(targets)).merge_values(True).row_height(0.8).fill_opacity(80).line_width(0)
    # With colors by thresholds, values would be merged by thresholds regardless of their mappings.
    panel = panel.show_value(commons.VisibilityMode.AUTO).color_scheme(color(boards.FieldColorModeId.FIXED, IDLE))
    legend = common.VizLegendOptions().show_legend(False).display_mode(commons.LegendDisplayMode.LIST)
    return panel.legend(legend.placement(commons.LegendPlacement.BOTTOM)).span(24).height(6)


def density(title: str, text: str, unit: str, buckets: str) -> heatmap.Panel:
    """Build a heatmap of a histogram over time; ``buckets`` are summed by ``le``."""
    target = query(buckets, "{{le}}").format(queries.PromQueryFormat.HEATMAP).ref_id("A")
    panel = heatmap.Panel().title(title).description(text).unit("short").datasource(DATASOURCE).with_target(target)
    shades = heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Blues").steps(32)
    shades = shades.exponent(0.5).fill("dark-blue").scale(heatmaps.HeatmapColorScale.EXPONENTIAL).reverse(False)
    panel = panel.calculate(False).color(shades).y_axis(heatmap.YAxisConfig().unit(unit)).cell_gap(1)
    return panel.rows_frame(heatmap.RowsHeatmapOptions().layout(commons.HeatmapCellLayout.AUTO)).span(12).height(8)


def lettered(targets: tuple[Target, ...]) -> list[Builder[Dataquery]]:
    """Name targets A, B, C, … like Grafana; the columns of a table are named by these letters."""
    return [target.ref_id(letter) for letter, target in zip(ascii_uppercase, targets, strict=False)]


def steps(base: str, *above: tuple[float, str]) -> dashboard.ThresholdsConfig:
    """Build color thresholds; ``base`` is the color below the first one."""
    thresholds = [boards.Threshold(value=None, color=base), *(boards.Threshold(*step) for step in above)]
    return dashboard.ThresholdsConfig().mode(boards.ThresholdsMode.ABSOLUTE).steps(thresholds)


def color(mode: boards.FieldColorModeId, fixed: str = "") -> dashboard.FieldColor:
    """Build the color mode of a field."""
    chosen = dashboard.FieldColor().mode(mode)
    return chosen.fixed_color(fixed) if fixed else chosen


def words(*texts: tuple[str, str]) -> boards.ValueMap:
    """Map 0, 1, 2, … to (word, color)."""
    return boards.ValueMap(
        {str(number): boards.ValueMappingResult(*text, index=number) for number, text in enumerate(texts)}
    )


def phases() -> boards.ValueMap:
    """Map ``promql.phase_number`` to the name and color of the phase."""
    return words(*((phase.value, PHASE_COLORS[phase]) for phase in Phase))


def verdicts() -> boards.ValueMap:
    """Map ``promql.verdict`` to its name and color."""
    return words(*((verdict.value, VERDICT_COLORS[verdict]) for verdict in VERDICTS))


def shaded(panel: Drawn, shades: Mapping[str, str]) -> Drawn:
    """Give the series of a panel fixed colors by their names."""
    for label, shade in shades.items():
        panel = panel.override_by_name(label, [fixed_color(shade)])
    return panel


def bound(panel: series.Panel, label: str) -> series.Panel:
    """Show the series of this name as a dashed line that is not stacked with the others."""
    dashed = [
        Property("custom.stacking", {"mode": "none", "group": "A"}),
        Property("custom.lineStyle", {"fill": "dash", "dash": [8, 6]}),
        Property("custom.lineWidth", 2),
        Property("custom.fillOpacity", 0),
    ]
    return panel.override_by_name(label, [*dashed, fixed_color("text")])


def fixed_color(shade: str) -> Property:
    """Make the property of a fixed color."""
    return Property("color", {"mode": "fixed", "fixedColor": shade})
