"""What a tool could send to be executed where it is shown."""

from __future__ import annotations

ATTACKS = (
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1><script>window.pwned=1</script></svg>",
    "\"><iframe srcdoc=\"<script>parent.pwned=1</script>\"></iframe>",
    "'-alert(1)-'\" autofocus onfocus=window.pwned=1 x=\"",
    "</td></tr></table></details><script>window.pwned=1</script>",
    "</style><script>window.pwned=1</script>",
    "<details open ontoggle=window.pwned=1>",
    "javascript:window.pwned=1",
    "[click](javascript:window.pwned=1) ![x](x \"onerror=window.pwned=1\")",
    "[click](JaVaScRiPt&colon;window.pwned=1) <javascript:window.pwned=1>",
    "```html\n<script>window.pwned=1</script>\n```\n# <img src=x onerror=window.pwned=1>",
    "[a](https://example.org/\"onmouseover=window.pwned=1) **<b onclick=window.pwned=1>b</b>**",
    "{{constructor.constructor('window.pwned=1')()}} ${window.pwned=1}",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.pwned=1>",
    "<a href=\"data:text/html,<script>opener.pwned=1</script>\">x</a>",
    "__proto__",
    "\u202e<script>window.pwned=1</script>\u2028\x00\x1b[31m",
)  # fmt: skip
