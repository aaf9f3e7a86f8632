"""How a report looks: light and dark as the reader's system has it, and black on white on paper."""

from __future__ import annotations

STYLE = (
    """
:root { color-scheme: light dark; --text: #1b1f24; --quiet: #57606a; --paper: #fff; --rule: #d0d7de; --heat: #8c1d40;
  --s0: #0072b2; --s1: #c04e00; --s2: #00805c; --s3: #a8487f; --s4: #7a6200; --s5: #3f6f9f; --s6: #6b4fa0; --s7: #555; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --quiet: #9aa4af; --paper: #12161b; --rule: #39424d;
  --heat: #ff7b9c; --s0: #58b4f0; --s1: #ff9a52; --s2: #3fcf9f; --s3: #ef97c6; --s4: #e0c341; --s5: #9cc4ee;
  --s6: #bda6f2; --s7: #b5bcc4; } }
@media print { :root { color-scheme: light; --text: #000; --quiet: #444; --paper: #fff; --rule: #bbb; --heat: #8c1d40;
  --s0: #0072b2; --s1: #c04e00; --s2: #00805c; --s3: #a8487f; --s4: #7a6200; --s5: #3f6f9f; --s6: #6b4fa0;
  --s7: #555; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.2rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 0 0 .3rem; }
header p, figcaption, footer, small { color: var(--quiet); }
p { margin: .4rem 0; max-width: 46rem; }
figure { margin: .6rem 0 1.2rem; }
figcaption { font-size: .88rem; max-width: 46rem; }
svg { display: block; max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
.scroll svg { max-width: none; } .chart svg { width: 100%; min-width: 38rem; max-width: 54rem; height: auto; }
.maps figure { max-width: 100%; }
.maps { display: flex; flex-wrap: wrap; gap: 0 1.4rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap;
  vertical-align: top; }
th:first-child { text-align: left; padding-left: 0; }
thead th { font-weight: 600; white-space: normal; vertical-align: bottom; }
thead small { display: block; font-weight: 400; }
td.failed { text-align: left; white-space: normal; color: var(--s1); }
tbody small { white-space: nowrap; }
.texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: .8rem; }
article { border: 1px solid var(--rule); border-radius: 6px; padding: .7rem .9rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; max-width: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; font-size: .92rem; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.2rem; max-width: 46rem; } li { margin: .3rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid var(--rule); border-radius: 6px; 
  padding: .7rem .9rem; font-size: .88rem; margin: 0; }
footer { margin-top: 2.5rem; font-size: .88rem; }
.tick, .name { font: 12px system-ui, sans-serif; fill: var(--quiet); }
.name { font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; opacity: .6; } .axis { stroke: var(--quiet); }
.dense { stroke: var(--text); stroke-dasharray: 2 4; } .budget { stroke: var(--quiet); stroke-dasharray: 8 4; }
.line { fill: none; stroke-width: 2; } .whisker { stroke-width: 1.5; } .cell { fill: var(--heat); stroke: var(--rule);
  stroke-width: .5; }
"""
    + "".join(
        f".line.s{i}, .whisker.s{i} {{ stroke: var(--s{i}); }} .dot.s{i}, .name.s{i} {{ fill: var(--s{i}); }}\n"
        for i in range(8)
    )
    + """
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin: 0 0 .4rem; } }
@media print { body { font-size: 10.5pt; } main { max-width: none; padding: 0; } section, figure, article, tr
  { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; } .scroll svg { max-width: 100%; }
  th, td { padding: .25rem .4rem; font-size: 9pt; } a { color: inherit; } }
"""
)
