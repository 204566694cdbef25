"""The digest of the code of one's own that a run may use; for other runs there is none, and their identity stays."""

from dataclasses import replace

from headstart.config import own_code
from headstart.config.code_digest import digest_modules
from headstart.config.schema import RunConfig, to_plain


def digest_own_code(config: RunConfig) -> dict[str, str | None]:
    """Return `{"code": digest}`, or an empty dictionary: a figure is drawn after the run and does not count."""
    import timm

    defined_in = timm.model_entrypoint(config.model.name.partition(".")[0]).__module__
    used = own_code.find_used(config.imports or (), to_plain(replace(config, figures={})), defined_in)
    return {"code": digest_modules(used)} if used else {}
