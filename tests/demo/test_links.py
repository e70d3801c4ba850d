import pytest

from motion_offsets.demo import links, text


def test_a_space_links_to_its_own_code_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "lab/motion-offsets")
    assert links.links() == [
        ("Paper", links.PAPER),
        ("Code", "https://huggingface.co/spaces/lab/motion-offsets/tree/main"),
        ("Models", "https://huggingface.co/lab/blur-to-video"),
    ]


def test_elsewhere_no_address_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setattr(links, "_project_urls", lambda: [("Paper", "https://x.org"), ("Source", "https://git.org/us")])
    assert links.links() == [("Paper", links.PAPER), ("Code", "https://git.org/us")]
    shown = text.links_html([("A & B", 'https://x.org/"')])
    assert shown == '<a href="https://x.org/&quot;" target="_blank" rel="noopener">A &amp; B</a>'
