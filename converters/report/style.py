"""The page's style sheet: light, dark, a phone and paper."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#57606c;--line:#dfe3e8;--blue:#2563c9;--green:#137a46;
--grey:#77808c;--red:#bd3124;--amber:#8a5a00;--tint:#eaf5ef;--warn:#fdf3e1}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2127;--text:#e7eaee;--soft:#a3adb9;--line:#343b44;--blue:#78a9f7;
--green:#4fc78d;--grey:#8f99a6;--red:#f48579;--amber:#e8b55c;--tint:#1b2f26;--warn:#33291a}}
@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--text:#000;--soft:#444;--line:#ccc;--blue:#2563c9;--green:#137a46;
--grey:#77808c;--red:#bd3124;--amber:#8a5a00;--tint:#eaf5ef;--warn:#fdf3e1}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1200px;margin:0 auto;padding:28px 20px 56px}
h1{font-size:26px;line-height:1.25;margin:0;overflow-wrap:anywhere}h2{font-size:16px;margin:0 0 8px}h3{font-size:14px;margin:16px 0 6px}
p{margin:6px 0;overflow-wrap:anywhere}ul{margin:6px 0;padding-left:20px}li{margin:2px 0;overflow-wrap:anywhere}
.soft{color:var(--soft)}code{font:13px ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.badge{display:inline-block;padding:2px 11px;border-radius:99px;font-size:14px;font-weight:600;color:var(--card);background:var(--green);
vertical-align:3px;margin-left:8px}.badge.no{background:var(--red)}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;min-width:0}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;margin-top:16px}.wide{grid-column:1/-1}
.flow{columns:2;column-gap:16px;margin-top:16px}.flow .card{break-inside:avoid;margin-bottom:16px}
.verdict{margin-top:18px;border-left:5px solid var(--green)}.verdict.no{border-left-color:var(--red)}.verdict .big{font-size:17px;margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px 20px;margin-top:14px}
.tile b{display:block;font-size:24px;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px;display:block}
.here{background:var(--warn);border-radius:8px;padding:8px 12px;margin:10px 0 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{text-align:right;padding:5px 8px;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;white-space:nowrap}th:first-child,td:first-child,.words td,.words th,
.all td:nth-child(2),.all th:nth-child(2){text-align:left}
td{overflow-wrap:anywhere}tr.chosen{background:var(--tint)}tr.chosen:not(.why) td:nth-child(2){font-weight:650}
.all td:first-child{white-space:nowrap}.all tr.said>td{border-bottom:0;padding-bottom:1px}
.all tr.why td{padding-top:0;text-align:left}.all tr.why{color:var(--soft)}
tr.refused .verd{color:var(--red)}tr.passed .verd,tr.untimed .verd{color:var(--blue)}
tr.chosen .verd{color:var(--green)}.verd{font-weight:600}
.nowrap{white-space:nowrap}.barcol{width:38%;min-width:90px}
.bar{display:block;position:relative;height:11px;min-width:80px;margin-top:4px;background:var(--line);border-radius:3px}
.bar i{position:absolute;top:0;height:100%;border-radius:3px;-webkit-print-color-adjust:exact;print-color-adjust:exact}
i.passed{background:var(--blue)}i.refused{background:var(--red)}i.chosen{background:var(--green)}i.source{background:var(--grey)}
dl{display:grid;grid-template-columns:minmax(110px,auto) 1fr;gap:4px 14px;margin:6px 0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
svg{width:100%;height:auto;display:block}.wide>svg{max-width:660px;margin:0 auto}svg text{fill:var(--text);font:11.5px system-ui,sans-serif}
svg .tick,svg text.axis,svg .note{fill:var(--soft);font-size:11px}svg .number{font-weight:600;font-size:11px;
paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
svg polyline{fill:none;stroke:var(--line)}svg polyline.axis{stroke:var(--grey)}
svg polyline.front{stroke:var(--green);stroke-width:2}svg polyline.family{stroke:var(--grey);stroke-dasharray:2 3}
svg polyline.limit{stroke:var(--red);stroke-dasharray:6 4}svg text.limit{fill:var(--red);font-size:11px}
svg polyline.leader{stroke:var(--grey);stroke-width:.8}
.m{stroke:var(--card);stroke-width:1.2}.m.source{fill:var(--grey)}.m.chosen{fill:var(--green)}.m.passed{fill:var(--blue)}
.m.untimed{fill:var(--card);stroke:var(--blue);stroke-width:2}.m.refused{fill:none;stroke:var(--red);stroke-width:2.2}
rect.before{fill:var(--grey);opacity:.55}polyline.after{stroke:var(--blue)!important;stroke-width:2}
svg polyline.was{stroke:var(--grey);stroke-dasharray:5 3;stroke-width:1.5}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);margin:8px 0 0;padding:0;list-style:none}
.legend li{display:flex;align-items:center;gap:6px}.legend svg{width:18px;height:18px;flex:none}
footer{color:var(--soft);font-size:13px;margin-top:20px}
@media screen and (max-width:820px){.flow{columns:1}.grid{grid-template-columns:minmax(0,1fr)}
main{padding:16px 10px 40px}.card{padding:13px 12px}h1{font-size:21px}
.tiles{grid-template-columns:repeat(auto-fit,minmax(140px,1fr))}.tile b{font-size:20px}
table.stack thead{display:none}table.stack,table.stack tbody{display:block}
table.stack tr{display:grid;grid-template-columns:1fr 1fr 1fr;gap:6px 10px;padding:10px 4px;border-bottom:1px solid var(--line)}
table.stack td{display:block;border:0;padding:0;text-align:left}table.stack td:nth-child(2){grid-column:2/-1}
table.stack td::before{content:attr(data-of);display:block;color:var(--soft);font-weight:400;font-size:11px}
table.stack tr.said{border-bottom:0;padding-bottom:2px}table.stack tr.why{display:block;padding-top:2px}
table.stack tr.why td:first-child{display:none}table.stack tr.why td::before{content:none}}
@media screen and (min-width:821px){.all{font-size:12.5px}.all td,.all th{padding:5px}.all td:nth-child(2){min-width:180px}}
@media print{body{font-size:11px}main{max-width:none;padding:0}.card{break-inside:avoid;border-radius:0;padding:10px 12px}
.wide{break-inside:auto}.grid,.flow{gap:10px;margin-top:10px}.tile span,.legend,dl,h3{font-size:10px}
code{font-size:10px}h2{font-size:13px}
.bar{min-width:50px;height:8px}.tiles{grid-template-columns:repeat(4,1fr)}
tr{break-inside:avoid}thead{display:table-header-group}.scroll{overflow:visible}
table{font-size:9.5px}
th,td{padding:3px 5px}th{white-space:normal}.all{font-size:8.5px}
.badge,.here,tr.chosen,.bar{-webkit-print-color-adjust:exact;print-color-adjust:exact}.tile b{font-size:17px}
svg{max-height:8cm}@page{margin:14mm}}
"""
