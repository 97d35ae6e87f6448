"""The style sheet of a report's page."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--ink:#1d2733;--dim:#5b6876;--line:#d9dfe6;--page:#fff;--soft:#f5f7f9;
--c0:#1f6feb;--c1:#c2571a;--c2:#2f8f4e;--c3:#8250a8;--bad:#b3261e;--warn:#8a5a00;--good:#1f7a3d}
@media (prefers-color-scheme:dark){:root{--ink:#e3e8ee;--dim:#9aa7b4;--line:#33404d;--page:#12181f;--soft:#1a222b;
--c0:#6ea8fe;--c1:#f0a06a;--c2:#79c98f;--c3:#c5a3e0;--bad:#f2777a;--warn:#e5b567;--good:#7fc98f}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1000px;margin:0 auto;padding:28px 20px}h1{font-size:24px;margin:0 0 4px;overflow-wrap:anywhere}
h1 span{font-size:15px;font-weight:600;margin-left:8px}h2{font-size:17px;margin:30px 0 10px}small,footer{color:var(--dim)}
.lead{margin:0 0 18px;color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
section{background:var(--soft);border-left:4px solid var(--warn);padding:10px 14px;margin:0 0 10px}
section.cause,section.alarm{border-color:var(--bad)}section p{margin:0 0 4px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.45 ui-monospace,monospace;margin:6px 0 0}
main>pre{background:var(--soft);padding:12px 14px}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:5px 10px 5px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
th{width:190px;font-weight:500;color:var(--dim)}.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:18px}
figure{margin:0}figcaption{font-size:13px}figcaption span{margin-left:12px;color:var(--dim)}
figcaption span::before{content:"";display:inline-block;width:10px;height:10px;margin-right:5px;border-radius:2px;background:currentColor}
.k0::before{color:var(--c0)}.k1::before{color:var(--c1)}.k2::before{color:var(--c2)}.k3::before{color:var(--c3)}.kgap::before{color:var(--bad)}
svg{width:100%;height:auto;display:block}svg text{font-size:11px;fill:var(--dim)}svg polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}
svg .grid{stroke:var(--line)}svg .gap{stroke:var(--bad);stroke-width:2}polyline.c0{stroke:var(--c0)}polyline.c1{stroke:var(--c1)}
polyline.c2{stroke:var(--c2)}polyline.c3{stroke:var(--c3)}circle.c0{fill:var(--c0)}circle.c1{fill:var(--c1)}circle.c2{fill:var(--c2)}circle.c3{fill:var(--c3)}
footer{margin-top:34px;font-size:13px}
"""
