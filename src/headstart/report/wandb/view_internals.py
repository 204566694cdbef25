"""The private parts of wandb-workspaces that headstart uses: nothing public says which view `Workspace.save` replaces.

`from_url` would read it back from the server, with whatever was changed there, and lose what it does not know.
"""

from typing import Any


def get_view(workspace: Any) -> dict[str, str]:
    """The id and the name under which a saved view is kept."""
    return {"view": workspace._internal_id, "view_name": workspace._internal_name}


def set_view(workspace: Any, ids: dict[str, str]) -> None:
    """Have `save` replace the view with the ids that `get_view` gave; a new one is made if there are none."""
    workspace._internal_id, workspace._internal_name = ids.get("view", ""), ids.get("view_name", "")
