/** The report's whole style; colours are chosen for contrast in both schemes and for the colour-blind. */
export const style = `
:root{color-scheme:light dark;--page:#fbfbfa;--card:#fff;--ink:#1c1d20;--muted:#5d6068;--line:#dcdde1;--good:#17693a;--good-bg:#e3f3e8;
--bad:#b3261e;--bad-bg:#fbe6e4;--open:#7a5200;--open-bg:#fbefd2;--shade:#1c1d2038;
--series-1:#0b62a8;--series-2:#c2410c;--series-3:#0f766e;--series-4:#9d174d;--series-5:#6b5b00;--series-6:#5b3fb0;--series-7:#3f6212;--series-8:#57534e}
@media (prefers-color-scheme:dark){:root{--page:#141518;--card:#1c1e22;--ink:#e8e8ea;--muted:#a3a6ae;--line:#34373e;--good:#7ddc9f;--good-bg:#153222;
--bad:#ff9d94;--bad-bg:#401a18;--open:#f3c969;--open-bg:#3a2d0e;--shade:#000c;
--series-1:#6cb6ff;--series-2:#ff9e64;--series-3:#4fd1c5;--series-4:#f58ab8;--series-5:#e5cf5f;--series-6:#b9a4ff;--series-7:#a3d977;--series-8:#c4bfb8}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
header,nav,main{max-width:1560px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:26px;line-height:1.2;margin:0 0 12px;overflow-wrap:anywhere}
h2{font-size:19px;margin:0}
.verdict{margin:0 0 16px;padding:10px 14px;border-radius:8px;overflow-wrap:anywhere}
.verdict strong{margin-right:6px;letter-spacing:.03em}
.pass{color:var(--good);background:var(--good-bg)}.fail{color:var(--bad);background:var(--bad-bg)}.inconclusive{color:var(--open);background:var(--open-bg)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px 24px;margin:0 0 12px}
dt{font-size:12px;color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 16px;padding-top:10px;padding-bottom:10px;border-top:1px solid var(--line);border-bottom:1px solid var(--line)}
a{color:var(--series-1);text-decoration:none}a:hover{text-decoration:underline}
nav a{font-size:13px}
section{padding:22px 0 8px;scroll-margin-top:8px}
.lead{margin:2px 0 12px;color:var(--muted);max-width:75ch}
section>p{max-width:90ch;overflow-wrap:anywhere}
/* What lies beyond an edge throws a shadow there; covers that scroll along hide it at the end. */
.table{overflow-x:auto;margin:0 0 16px;background:linear-gradient(90deg,var(--card) 30%,transparent) left/36px 100% no-repeat local,
linear-gradient(270deg,var(--card) 30%,transparent) right/36px 100% no-repeat local,linear-gradient(90deg,var(--shade),transparent) left/12px 100% no-repeat scroll,
linear-gradient(270deg,var(--shade),transparent) right/12px 100% no-repeat scroll,var(--card);border:1px solid var(--line);border-radius:8px}
.table:focus-visible{outline:2px solid var(--series-1)}
table{border-collapse:collapse;width:100%;font-size:13.5px}
caption{text-align:left;font-weight:600;padding:8px;position:sticky;left:0}
th,td{padding:5px 7px;text-align:left;vertical-align:top;white-space:nowrap;border-top:1px solid var(--line)}
th{font-weight:500;color:var(--muted);font-size:12.5px}
thead th:empty{padding:0;border:0}
.number{font-variant-numeric:tabular-nums}
.words{white-space:normal;min-width:190px;max-width:60ch;overflow-wrap:break-word}.command{min-width:300px;overflow-wrap:anywhere}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
.chip{padding:1px 8px;border-radius:99px;font-size:12px;font-weight:600}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;padding:0;margin:0 0 10px;font-size:13.5px}
.key i{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:6px;vertical-align:middle}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:16px}
figure{margin:0;padding:10px 12px;background:var(--card);border:1px solid var(--line);border-radius:8px}
figcaption{font-size:13px;color:var(--muted)}figcaption strong{color:var(--ink)}
svg{display:block;width:100%;height:auto}
@media (max-width:600px){header,nav,main{padding-left:14px;padding-right:14px}h1{font-size:22px}.words{min-width:300px}}
@media print{nav{display:none}.table{overflow:visible}section{break-inside:avoid}}
`;
