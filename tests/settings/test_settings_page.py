"""The page of settings agrees with the code."""

from tests.settings import settings_page


def test_the_page_lists_every_key_with_its_default() -> None:
    page = settings_page.PAGE.read_text(encoding="utf-8")
    assert page == settings_page.page(), "run: python -m tests.settings.settings_page"
