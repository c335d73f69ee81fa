"""The page's style sheet: light, and dark where the reader prefers it."""

from __future__ import annotations

__all__ = ["STYLE"]

_DARK = """
--page:#121211;--card:#1b1b1a;--ink:#f2f1ec;--soft:#b5b4ac;--line:#34342f;--grid:#2b2b28;
--train:#5a9cf0;--validation:#f08a4b;--test:#3fc48f;--other:#b79cf2;
--right:#3a7fd0;--wrong:#d9622b;--empty:#232321;"""

STYLE = (
    """
:root{--page:#f6f5f1;--card:#fffffe;--ink:#1c1b19;--soft:#5f5d57;--line:#dddbd3;--grid:#e9e7e0;
--train:#1f6fd0;--validation:#d4570f;--test:#12875a;--other:#6b4fc4;
--right:#2a72c8;--wrong:#d4570f;--empty:#f3f2ed;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{"""
    + _DARK
    + """}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 24px 64px}
h1{font-size:28px;margin:0}h2{font-size:20px;margin:44px 0 12px}h3{font-size:15px;margin:0 0 8px}
header p{color:var(--soft);margin:2px 0 18px;overflow-wrap:anywhere}
section p{color:var(--soft);margin:0 0 12px}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin-top:16px}
a{color:var(--train);text-decoration:none}a:hover{text-decoration:underline}
.tiles{display:flex;flex-wrap:wrap;gap:10px;margin:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:9px 16px}
.tiles dt{color:var(--soft);font-size:13px}.tiles dd{margin:0;font-size:20px;font-weight:600}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px;
margin:0;min-width:0}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:16px}
.charts figcaption{font-weight:600}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;margin:2px 0 8px;padding:0;
color:var(--soft);font-size:13px}
.legend i{display:inline-block;width:16px;height:3px;border-radius:2px;margin-right:6px;
vertical-align:middle}
.legend b{color:var(--ink);font-weight:600;font-variant-numeric:tabular-nums}
svg{display:block;width:100%;height:auto;font:12px system-ui,"DejaVu Sans",sans-serif}
.grid{stroke:var(--grid)}.axis{stroke:var(--line)}
.tick,.label{fill:var(--soft)}.cell{fill:var(--ink)}.on{fill:#fff}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.faint{stroke-width:1;opacity:.4}.legend i.faint{opacity:.4}
.hit{fill:transparent}g:hover>.hit{fill:var(--ink);fill-opacity:.12}
.empty{fill:var(--empty)}
.columns{display:flex;flex-wrap:wrap;gap:28px;align-items:flex-start}
.matrix{max-width:100%}
.columns>.columns{flex:1 1 240px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:500}
th,td{padding:3px 18px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.sum td{font-weight:600;border-bottom:0}
.images{display:grid;grid-template-columns:repeat(auto-fill,minmax(92px,1fr));gap:14px 12px}
.images figure{margin:0}.images img{width:100%;border-radius:4px;display:block}
.images figcaption{font-size:13px;line-height:1.35;margin-top:4px;overflow-wrap:anywhere}
.images small{color:var(--soft);margin-left:6px}
.pixels{image-rendering:pixelated}
.filters{display:flex;flex-wrap:wrap;gap:6px}.filters img{width:52px;border-radius:3px}
.note{font-style:italic}
code{font:13px ui-monospace,"DejaVu Sans Mono",monospace}
@media (max-width:560px){.chart{font-size:18px}}
@media print{.card{break-inside:avoid}nav{display:none}}
"""
)
