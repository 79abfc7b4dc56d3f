# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The style sheet of all pages."""

from __future__ import annotations

STYLE = r"""
:root {
  --ground: #f5f6f8; --card: #ffffff; --ink: #16202a; --soft: #55636f; --line: #dfe4ea; --faint: #eef1f4;
  --accent: #1f6fd6; --accent-ink: #1a5fb8; --alarm: #b3261e; --alarm-ground: #fdf0ef; --good: #1a6b3c;
  --good-ground: #eaf6ef; --warn: #8a5300; --warn-ground: #fdf3e1; --own: #8593a1;
  color-scheme: light dark;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #0f151b; --card: #171f27; --ink: #e7ecf1; --soft: #a2b0bd; --line: #2b3742; --faint: #202a33;
    --accent: #5aa5f5; --accent-ink: #7fbaf8; --alarm: #ff9b91; --alarm-ground: #371f1e; --good: #7fd6a2;
    --good-ground: #15291f; --warn: #f2b866; --warn-ground: #33270f; --own: #7b8996;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
header, main, footer { max-width: 78rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.25rem; padding-bottom: 1.25rem; }
a { color: var(--accent-ink); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: .25rem; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .5rem 1rem; border-radius: .5rem; z-index: 1; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.top { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: flex-start; justify-content: space-between; }
.projects { margin: 0 0 .35rem; color: var(--soft); font-weight: 600; font-size: .85rem; letter-spacing: .02em; }
h1 { font-size: clamp(1.5rem, 1.1rem + 1.8vw, 2.15rem); line-height: 1.15; margin: 0 0 .4rem; letter-spacing: -.02em;
  text-wrap: balance; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; line-height: 1.3; margin: 0; letter-spacing: -.005em; }
h3 { font-size: .85rem; margin: 0 0 .5rem; color: var(--soft); font-weight: 600; }
.range { margin: 0; color: var(--soft); }
.range span + span::before { content: "\00b7"; margin: 0 .5em; }
.card > :last-child { margin-bottom: 0; }
.state { display: inline-flex; align-items: center; gap: .45rem; padding: .3rem .8rem; border-radius: 2rem; font-weight: 600;
  font-size: .9rem; text-decoration: none; background: var(--good-ground); color: var(--good); white-space: nowrap; }
.state::before { content: ""; width: .55rem; height: .55rem; border-radius: 50%; background: currentColor; }
.state.unfinished { background: var(--faint); color: var(--soft); }
.state.incomplete { background: var(--alarm-ground); color: var(--alarm); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .8rem; padding: 1.15rem 1.35rem 1.3rem;
  margin: 0 0 1rem; min-width: 0; }
.card > h2 + .hint, .head + .hint { margin-top: .15rem; }
.hint { margin: 0 0 .9rem; color: var(--soft); font-size: .88rem; }
.head { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; justify-content: space-between; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: .75rem; margin: 0 0 1rem; padding: 0; }
.figures div { display: flex; flex-direction: column; justify-content: space-between; background: var(--card);
  border: 1px solid var(--line); border-radius: .8rem; padding: .8rem 1.1rem .75rem; }
.figures dd { margin: 0; font-size: 1.75rem; font-weight: 650; line-height: 1.15; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.figures dt { color: var(--soft); font-size: .82rem; line-height: 1.3; }
.figures .alarm dd { color: var(--alarm); }
.figures small { display: block; color: var(--soft); font-size: .78rem; font-weight: 400; letter-spacing: 0; line-height: 1.4; }
.compared { margin: 0 0 .5rem; }
.contents { margin: 0 0 1rem; font-size: .9rem; }
.contents ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 0; padding: 0; list-style: none; }
.severity { display: inline-block; font-size: .72rem; line-height: 1.5; font-weight: 600; border-radius: 1rem; padding: 0 .55rem;
  border: 1px solid currentColor; color: var(--soft); white-space: nowrap; }
.severity.critical { background: var(--alarm); border-color: var(--alarm); color: var(--card); }
.severity.high { color: var(--alarm); background: var(--alarm-ground); }
.severity.medium { color: var(--warn); background: var(--warn-ground); }
.tally { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin: 0; padding: 0; list-style: none; }
.group { border-top: 1px solid var(--line); padding-top: .8rem; margin-top: .8rem; }
.group h3 { color: var(--ink); font-size: .95rem; margin: 0; display: inline; }
.group h3 small { color: var(--soft); font-weight: 400; white-space: nowrap; }
.group .hint { margin: .2rem 0 .3rem; }
.group + .hint { margin-top: .8rem; }
.group .all { margin: 0; font-size: .88rem; }
.group > .all { margin-top: .4rem; }
details.more > summary { cursor: pointer; width: fit-content; font-size: .88rem; color: var(--accent-ink); padding: .15rem 0; }
details.group > summary { color: var(--soft); }
a.only { color: inherit; text-decoration: underline; text-decoration-color: var(--line); text-underline-offset: .2em; }
a.only:hover { color: var(--accent-ink); text-decoration-color: currentColor; }
.all a.only, .details a.only { color: var(--accent-ink); }
.columns { columns: 17rem; column-gap: 2rem; }
.card > .columns { margin-bottom: -1.2rem; }
.ranking h2 { font-size: .95rem; }
.ranking { padding-bottom: 1.2rem; break-inside: avoid; }
.chart { width: 100%; overflow: hidden; min-height: 12rem; }
.chart.tall { min-height: 17.5rem; }
.chart svg { display: block; max-width: 100%; height: auto; }
.chart svg text { fill: var(--soft); font-family: inherit; }
.chart svg .role-axis-grid line { stroke: var(--line); }
.chart svg .mark-rect path { fill: var(--accent); }
.chart svg .own_marks path { fill: var(--own); }
.chart svg .alerts_marks path { fill: var(--alarm); stroke: var(--card); }
.chart svg .missing_marks path, .chart svg .gaps_marks path { fill: url(#hatch); stroke: none; }
.hatch { stroke: var(--soft); stroke-width: 1.5; opacity: .55; }
.chart svg .small_marks path { fill: var(--soft); opacity: .6; }
.chart svg .heat_marks path { cursor: pointer; }
.chart svg .brush_brush path { fill: var(--accent); stroke: var(--accent); }
.chart svg .brush_brush_bg path { fill: transparent; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; color: var(--soft); font-size: .85rem; margin: 0; padding: 0; list-style: none; }
.legend li::before { content: ""; display: inline-block; width: .7rem; height: .7rem; border-radius: .2rem; margin-right: .4rem;
  background: var(--accent); vertical-align: -.05rem; }
.legend .own::before { background: var(--own); }
.legend .risk::before { background: var(--alarm); clip-path: polygon(0 0, 100% 0, 50% 100%); }
.legend .missing::before { border: 1px solid var(--line);
  background: repeating-linear-gradient(135deg, var(--own) 0 1.5px, transparent 1.5px 4px); }
#vg-tooltip-element { position: fixed; z-index: 9; visibility: hidden; background: var(--ink); color: var(--card); padding: .45rem .7rem;
  border-radius: .45rem; font-size: .82rem; pointer-events: none; box-shadow: 0 3px 14px rgb(0 0 0 / .25); }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element td.key { opacity: .75; padding-right: .7rem; }
#vg-tooltip-element td.value { font-variant-numeric: tabular-nums; }
details.numbers { margin-top: .6rem; color: var(--soft); font-size: .88rem; }
details.numbers summary { cursor: pointer; width: max-content; max-width: 100%; }
.scroll { overflow: auto; max-height: 22rem; margin-top: .5rem; }
.scroll table { font-size: .82rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.bars { table-layout: fixed; margin-top: .55rem; }
.bars th { font-weight: 400; padding: .22rem .6rem .22rem 0; overflow-wrap: anywhere; line-height: 1.35; }
.bars td { padding: .22rem 0; vertical-align: middle; }
.bars .size { width: 16%; }
.bars .number { width: 3.2rem; }
.bars .flat th { padding: 0; height: 0; line-height: 0; font-size: 0; }
.bars small, .rest { color: var(--soft); }
.bars small { display: inline-block; }
meter { width: 100%; height: .5rem; display: block; background: var(--faint); border: 0; border-radius: .3rem; }
meter::-webkit-meter-inner-element { grid-template-columns: 1fr; }
meter::-webkit-meter-bar { background: var(--faint); border: 0; border-radius: .3rem; height: .5rem; }
meter::-webkit-meter-optimum-value { background: var(--accent); border-radius: .3rem; }
meter::-moz-meter-bar { background: var(--accent); border-radius: .3rem; }
.kind { display: inline-block; font-size: .72rem; line-height: 1.45; border: 1px solid var(--line); border-radius: 1rem;
  padding: 0 .5rem; color: var(--soft); white-space: nowrap; }
.kind.admin, .kind.unknown { color: var(--alarm); border-color: currentColor; }
.log { font-size: .88rem; }
.log thead th { color: var(--soft); font-size: .78rem; border-bottom: 1px solid var(--line); padding: .35rem .9rem .35rem 0;
  vertical-align: bottom; }
.log td { vertical-align: top; border-bottom: 1px solid var(--faint); padding: .45rem .9rem .45rem 0; overflow-wrap: anywhere; line-height: 1.4; }
.log tr > :last-child { padding-right: 0; }
.log tbody tr:last-child td { border-bottom: 0; }
.log .time, .log .address { white-space: nowrap; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.log td.action { font: .92em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; color: var(--soft); }
.log td small { display: inline-block; color: var(--soft); font: .86em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
#entries tbody tr { cursor: pointer; }
#entries tbody tr.is-critical > td:first-child, #entries tbody tr.is-high > td:first-child { box-shadow: inset 3px 0 var(--alarm); }
#entries tbody tr.is-medium > td:first-child { box-shadow: inset 3px 0 var(--warn); }
#entries .time { padding-left: .6rem; }
button.open { border: 0; padding: 0 .35rem 0 0; font-size: .8rem; color: var(--soft); line-height: 1; }
button.open::before { content: "\25b8"; display: inline-block; }
button.open[aria-expanded="true"]::before { transform: rotate(90deg); }
tr.opened > td { border-bottom-color: transparent; }
.details { padding: .3rem .2rem .8rem 1.3rem; cursor: auto; }
.details textarea { width: 100%; font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line); }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1.2rem; margin: 0 0 .7rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.facts dd small { display: block; font-family: inherit; }
#chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 .6rem; padding: 0; list-style: none; }
#chips[hidden] { display: none; }
#chips button { overflow-wrap: anywhere; text-align: left; border-color: var(--accent); color: var(--accent-ink); }
#search-hint { flex-basis: 100%; margin: 0; font-size: .8rem; }
.in-print { display: none; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.firsts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem 2rem; }
.firsts ul { list-style: none; margin: 0; padding: 0; }
.firsts li { padding: .3rem 0; border-top: 1px solid var(--faint); overflow-wrap: anywhere; }
.firsts li small { display: block; color: var(--soft); font-variant-numeric: tabular-nums; }
.count { font-weight: 400; color: var(--soft); font-variant-numeric: tabular-nums; margin-left: .35rem; }
button, select, input { font: inherit; color: inherit; }
button { background: none; border: 1px solid var(--line); border-radius: .5rem; padding: .25rem .75rem; cursor: pointer; font-size: .86rem; }
button:hover { border-color: var(--accent); color: var(--accent-ink); }
.controls { display: flex; flex-wrap: wrap; gap: .6rem .9rem; align-items: flex-end; margin: .8rem 0; }
.controls label { display: flex; flex-direction: column; gap: .15rem; font-size: .78rem; color: var(--soft); min-width: 0; }
.controls select, .controls input, .dt-length select { background: var(--card); color: var(--ink); border: 1px solid var(--line);
  border-radius: .5rem; padding: .32rem .55rem; font-size: .9rem; max-width: 15rem; min-height: 2.1rem; }
.controls .wide { flex: 1 1 16rem; }
.controls .wide input { max-width: none; width: 100%; }
.controls button { min-height: 2.1rem; }
.span { margin: 0 0 .4rem; }
.span.controls { margin: .2rem 0 .7rem; }
table.dataTable thead th { cursor: pointer; user-select: none; position: relative; }
table.dataTable thead th .dt-column-order::after { content: "\2195"; opacity: .45; margin-left: .35rem; }
table.dataTable thead th.dt-ordering-asc .dt-column-order::after { content: "\2191"; opacity: 1; color: var(--accent-ink); }
table.dataTable thead th.dt-ordering-desc .dt-column-order::after { content: "\2193"; opacity: 1; color: var(--accent-ink); }
table.dataTable tbody tr:hover td { background: var(--faint); }
.dt-layout-row { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; align-items: center; justify-content: space-between; padding-top: .8rem;
  font-size: .86rem; color: var(--soft); }
.dt-layout-table { display: block; padding-top: 0; font-size: inherit; color: inherit; }
.dt-length label { margin-left: .4rem; }
.dt-paging nav { display: flex; flex-wrap: wrap; gap: .3rem; align-items: center; }
.dt-paging-button { min-width: 2.1rem; min-height: 2rem; padding: .15rem .5rem; }
.dt-paging-button.current { background: var(--accent-ink); border-color: var(--accent-ink); color: var(--card); }
.dt-paging-button.disabled { opacity: .45; cursor: default; }
.dt-empty { text-align: center; color: var(--soft); padding: 2rem 0 !important; }
.sources { font-size: .9rem; }
.sources th, .sources td { padding: .45rem 1rem .45rem 0; vertical-align: top; border-bottom: 1px solid var(--faint); }
.sources thead th { color: var(--soft); font-size: .78rem; border-bottom-color: var(--line); }
.sources ul { margin: 0; padding-left: 1.1rem; color: var(--alarm); }
.sources li.future { color: var(--soft); }
.sources code { display: block; color: var(--soft); }
.moment { white-space: nowrap; }
footer { padding-top: .25rem; padding-bottom: 2.5rem; font-size: .84rem; color: var(--soft); }
@media screen and (min-width: 40rem) {
  .log { table-layout: fixed; }
  .group ~ .group .alerts thead th, .more .alerts thead th { padding-top: 0; padding-bottom: 0; height: 0; line-height: 0; font-size: 0; }
  .group ~ .group .alerts { margin-top: .5rem; }
  .more .alerts thead th { border: 0; }
}
@media screen and (min-width: 40rem) and (max-width: 60rem) {
  .log thead .time { width: 6.6rem; }
  #entries thead .time { width: 7.6rem; }
  #entries td.time { position: relative; padding-left: 1.4rem; }
  #entries td.time .open { position: absolute; left: .4rem; top: .65rem; }
  .log thead .actor { width: 25%; }
  .log thead .action { width: 16%; }
  .log thead .address { width: 18.5%; }
  .log thead .project { width: 10%; }
  #entries thead:has(.project) .actor { width: 21%; }
  #entries thead:has(.project) .action { width: 13%; }
  #entries thead:has(.project) .address { width: 15.5%; }
  .log .time, .log .address { white-space: normal; overflow-wrap: anywhere; }
  .log .time span { white-space: nowrap; }
  .alerts thead .actor { width: 29%; }
}
@media (min-width: 60rem) {
  .log thead .time { width: 11.9rem; }
  .log thead .actor { width: 23%; }
  .log thead .action { width: 12.6rem; }
  .log thead .address { width: 10.6rem; }
  .log thead .project { width: 6.2rem; }
  .log thead:has(.project) .actor { width: 22%; }
  .log thead:has(.project) .action { width: 10.4rem; }
  .log thead:has(.project) .address { width: 9.4rem; }
  .log.long-names thead .project { width: 9.2rem; }
  .alerts thead .actor, .alerts thead:has(.project) .actor { width: 23.5%; }
  .log .address { white-space: normal; overflow-wrap: anywhere; }
}
@media (max-width: 60rem) {
  .firsts { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 40rem) {
  header, main, footer { padding-left: .9rem; padding-right: .9rem; }
  .card { padding: .95rem 1rem 1.05rem; border-radius: .65rem; }
  .range span { display: block; }
  .range span + span::before { content: none; }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .55rem; }
  .figures dd { font-size: 1.45rem; }
  #entries thead, .alerts thead { display: block; position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  #entries tbody, #entries tr, #entries td, .alerts tbody, .alerts tr, .alerts td { display: block; border: 0; padding: .05rem 0; }
  #entries tbody tr, .alerts tbody tr { border-bottom: 1px solid var(--line); padding: .55rem 0; }
  .alerts tbody tr:last-child { border-bottom: 0; }
  #entries tbody tr { padding-left: .6rem; }
  #entries tbody tr > td:first-child { padding-left: 0; }
  #entries tbody tr:is(.is-critical, .is-high, .is-medium) > td:first-child { box-shadow: none; }
  #entries tbody tr.is-critical, #entries tbody tr.is-high { box-shadow: inset 3px 0 var(--alarm); }
  #entries tbody tr.is-medium { box-shadow: inset 3px 0 var(--warn); }
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dd { margin-bottom: .4rem; }
  .controls label { flex: 1 1 8rem; }
  .controls select, .controls input { max-width: none; width: 100%; }
  .sources thead { position: absolute; clip-path: inset(50%); }
  .sources tr, .sources th, .sources td { display: block; border: 0; padding: .1rem 0; }
  .sources td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); }
  .sources tbody tr { border-bottom: 1px solid var(--faint); padding: .5rem 0; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  @page { size: A4; margin: 13mm 12mm 15mm;
    @bottom-right { content: counter(page) " / " counter(pages); font: 8pt system-ui, sans-serif; color: #55636f; } }
  :root { --ground: #fff; --faint: #e8ebee; }
  html { font-size: 12.5px; }
  body { background: none; font-size: 9.5pt; line-height: 1.4; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  header, main, footer { max-width: none; padding-left: 1px; padding-right: 1px; }
  header { padding-top: 0; }
  h1 { font-size: 20pt; }
  .card, .figures div { border-radius: 0; border-color: #c9cfd6; padding: .6rem .8rem; }
  .figures { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .4rem; }
  .figures dd { font-size: 14pt; }
  .columns { columns: 3; }
  .firsts { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .chart, .chart.tall { min-height: 0; }
  .ranking { break-inside: auto; }
  #coverage { break-inside: avoid; }
  .bars { font-size: 8.5pt; }
  .bars .size { width: 16%; }
  .bars .number { width: 2.6rem; }
  .firsts li, .ranking tr, .chart-card, .figures, tr, li { break-inside: avoid; }
  h2, h3, .hint { break-after: avoid; }
  details.more::details-content { content-visibility: visible; block-size: auto; }
  details.more > summary { list-style: none; color: var(--soft); }
  .in-print { display: block; }
  a, a.only { color: inherit; text-decoration: none; }
  .contents, .for-mice, .all, #chips, .controls, details.numbers, button, .dt-layout-row:not(.dt-layout-table),
  .skip, .dt-column-order { display: none !important; }
  .log { font-size: 8pt; }
  .log td, .log thead th { padding: .18rem .5rem .18rem 0; }
  .log thead th { font-size: 7.5pt; }
  .log .kind, .log .severity, .bars .kind { font-size: 6.5pt; line-height: 1.3; padding: 0 .3rem; }
  .log .address { white-space: normal; overflow-wrap: anywhere; }
  .alerts, #entries { table-layout: fixed; }
  .log td small { font-size: 6.5pt; }
  .log thead .project { width: 16mm; }
  .log.long-names thead .project { width: 27mm; }
  .log thead .time { width: 33mm; }
  #entries { font-size: 7.5pt; }
  #entries thead .actor { width: 43mm; }
  #entries thead:has(.project) .actor { width: 36mm; }
  #entries thead .action { width: 24mm; }
  #entries thead .address { width: 25mm; }
  .alerts thead .actor { width: 45mm; }
  .alerts.long-names thead .actor { width: 40mm; }
  .alerts thead .address { width: 26mm; }
  thead { display: table-header-group; }
}
"""
