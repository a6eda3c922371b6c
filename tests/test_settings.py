from pathlib import Path

import pytest

from semsearch_nb import settings


@pytest.fixture(autouse=True)
def restore_settings(monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.current())


def test_defaults_need_no_network_and_no_variable():
    found = settings.from_environment({})
    assert (found.data, found.models, found.device) == ("sample", "packaged", "auto")
    assert (found.engine, found.precision) == ("auto", "auto")
    assert found.data_dir is None
    assert "semsearch-nb" in str(found.cache_dir)


def test_every_variable_is_read(tmp_path):
    found = settings.from_environment(
        {
            "SEMSEARCH_DATA": "full",
            "SEMSEARCH_MODELS": "hub",
            "SEMSEARCH_DEVICE": "cpu",
            "SEMSEARCH_ENGINE": "torch",
            "SEMSEARCH_PRECISION": "float32",
            "SEMSEARCH_CACHE_DIR": str(tmp_path / "cache"),
            "SEMSEARCH_DATA_DIR": str(tmp_path),
        }
    )
    assert found == settings.Settings("full", "hub", "cpu", "torch", "float32", tmp_path / "cache", tmp_path)


def test_an_empty_variable_counts_as_unset():
    assert settings.from_environment({"SEMSEARCH_DATA": "", "SEMSEARCH_DATA_DIR": ""}) == settings.Settings()


def test_configure_changes_what_is_given_and_keeps_the_rest():
    settings.configure(models="hub")
    changed = settings.configure(data="full")
    assert (changed.data, changed.models) == ("full", "hub")
    assert settings.current() is changed


def test_a_refused_value_changes_nothing():
    before = settings.current()
    with pytest.raises(ValueError, match="models"):
        settings.configure(data="full", models="huggingface")
    assert settings.current() is before


def test_home_is_expanded():
    assert settings.configure(cache_dir="~/somewhere").cache_dir == Path.home() / "somewhere"
