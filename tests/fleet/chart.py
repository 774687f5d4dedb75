"""Draws what `fleet` wrote into DIRECTORY/fleet-series.json: DIRECTORY/fleet.svg and DIRECTORY/fleet.png.

    chart.py DIRECTORY

The same bytes come from the same series: no date is in them.
"""

import json
import pathlib
import sys

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "imprint"
mpl.rcParams["svg.fonttype"] = "none"
mpl.rcParams["font.family"] = "DejaVu Sans"

from matplotlib import pyplot as plt  # noqa: E402

# Seconds that are put together: a point for each second would be noise.
EACH = 10

COLORS = {
    "window right": "#1b6ca8",
    "window half of that": "#2a9d8f",
    "window a tenth of that": "#e9a23b",
    "no window": "#8e5ea2",
    "naive back-off": "#c0392b",
}


def main():
    """Reads the series and writes both pictures."""
    into = pathlib.Path(sys.argv[1])
    waves = {wave["name"]: wave for wave in json.loads((into / "fleet-series.json").read_text())["waves"]}
    away = ", Conjur away for 15 min"
    figure, panels = plt.subplots(2, 2, figsize=(13, 8.4), sharex="col", facecolor="white")
    hosts = next(iter(waves.values()))["hosts"]
    figure.suptitle(
        f"{hosts:,} instances boot within 30 s; Conjur makes 140 hosts a second (virtual time)", fontsize=14
    )
    for column, (suffix, title) in enumerate(
        [("", "Conjur is there"), (away, "Conjur is away for 15 minutes")]
    ):
        of_kind = {kind: waves[kind + suffix] for kind in COLORS if kind + suffix in waves}
        asked(panels[0][column], of_kind, title)
        enrolled(panels[1][column], of_kind)
    lines, labels = panels[1][1].get_legend_handles_labels()
    figure.legend(lines, labels, loc="lower center", ncol=len(labels), frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0.04, 1, 0.98))
    figure.savefig(into / "fleet.svg", metadata={"Date": None})
    svg = into / "fleet.svg"
    # The drawer leaves blanks at the ends of lines.
    svg.write_text("".join(line.rstrip() + "\n" for line in svg.read_text().splitlines()))
    figure.savefig(into / "fleet.png", dpi=110, metadata={"Software": None})


def asked(panel, of_kind, title):
    """Redeems a second that come to Conjur, on a logarithmic scale."""
    for kind, wave in of_kind.items():
        each = binned(wave["redeems"])
        times = [at * EACH / 60 for at in range(len(each))]
        panel.plot(times, [max(n / EACH, 0.1) for n in each], color=COLORS[kind], linewidth=1.3, label=kind)
    pace = next(iter(of_kind.values()))["creations"]
    panel.axhline(pace, color="#444444", linewidth=1, linestyle="--", label="what Conjur can do")
    panel.set_yscale("log")
    panel.set_ylim(1, 10_000)
    panel.set_ylabel("redeems a second at Conjur")
    panel.set_title(title)
    shade(panel, of_kind)


def enrolled(panel, of_kind):
    """How many have their identity."""
    for kind, wave in of_kind.items():
        total, so_far = 0, []
        for n in binned(wave["enrolled"]):
            total += n
            so_far.append(total / wave["hosts"] * 100)
        times = [(at + 1) * EACH / 60 for at in range(len(so_far))]
        panel.plot(times, so_far, color=COLORS[kind], linewidth=1.6, label=kind)
    wave = next(iter(of_kind.values()))
    least = wave["hosts"] / wave["creations"]
    points = [(0, 0), (least / 60, 100)]
    if wave["away"]:
        begins, ends = wave["away"]
        part = begins / least * 100
        points = [(0, 0), (begins / 60, part), (ends / 60, part), ((least + ends - begins) / 60, 100)]
    panel.plot(
        *zip(*points, strict=True), color="#444444", linewidth=1, linestyle="--", label="what Conjur can do"
    )
    panel.set_ylabel("instances enrolled (%)")
    panel.set_xlabel("minutes after the first boot")
    panel.set_ylim(0, 103)
    shade(panel, of_kind)


def shade(panel, of_kind):
    """Marks the outage, and where the panel begins."""
    away = next(iter(of_kind.values()))["away"]
    if away:
        panel.axvspan(away[0] / 60, away[1] / 60, color="#dddddd", zorder=0)
        panel.text(sum(away) / 120, panel.get_ylim()[1], "away", ha="center", va="top", color="#666666")
    panel.set_xlim(left=0, right=45 if away else 20)
    panel.grid(visible=True, which="major", color="#eeeeee")
    panel.set_axisbelow(True)


def binned(by_second):
    """The series in steps of EACH seconds."""
    return [sum(by_second[at : at + EACH]) for at in range(0, len(by_second), EACH)]


if __name__ == "__main__":
    main()
