"""Of what administrators write, only links, emphasis, lists and code become markup."""

import pytest

from containerstacks_web.rendering.markdown import markdown

CASES = [
    ("plain", "<p>plain</p>"),
    ("one\ntwo", "<p>one<br>\ntwo</p>"),
    ("**bold** *kind* `code`", "<p><strong>bold</strong> <em>kind</em> <code>code</code></p>"),
    ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
    ("```\n<b>\n```", "<pre><code>&lt;b&gt;\n</code></pre>"),
    ("[x](https://example.com/?a=1&b)", '<p><a href="https://example.com/?a=1&amp;b">x</a></p>'),
    ("[x](/status)", '<p><a href="/status">x</a></p>'),
    ("[x](mailto:a@example.com)", '<p><a href="mailto:a@example.com">x</a></p>'),
    ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
    ("# no heading", "<p># no heading</p>"),
]


@pytest.mark.parametrize(("written", "markup"), CASES)
def test_what_is_allowed_becomes_markup(written: str, markup: str) -> None:
    assert markdown(written).strip() == markup


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "&#106;avascript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "https:elsewhere",
    ],
)
def test_no_link_leads_where_it_must_not(target: str) -> None:
    for written in (f"[x]({target})", f"<{target}>", f"![x]({target})"):
        assert 'href="' not in markdown(written) or 'href="/%5C' in markdown(written)


@pytest.mark.parametrize(
    "written", ["<img src=x onerror=alert(1)>", "![x](https://example.com/x.png)", "<b>x</b>"]
)
def test_nothing_else_becomes_markup(written: str) -> None:
    assert "<img" not in markdown(written)
    assert "<b>" not in markdown(written)
