"""An export put on the Hub, with the user's own token."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub import errors as hub_errors

from wanda_core.errors import Refused
from wanda_core.models.hub_id import is_hub_id


def check_name(repo: str) -> None:
    """Refuse what is not OWNER/NAME, before hours of work depend on it."""
    if not isinstance(repo, str) or not is_hub_id(repo):
        raise Refused("the name on the Hub must be OWNER/NAME, a new model of yours")


def push(folder: Path, repo: str, token: str | None = None) -> str:
    """Create the model `repo` and upload an export to it in one commit.

    Args:
        token: None: the one that `hf auth login` or HF_TOKEN gives.

    Returns:
        Its address.

    Raises:
        Refused: not allowed, the model is there already, or the Hub cannot be reached.
    """
    check_name(repo)
    api = HfApi(token=token)
    try:
        address = api.create_repo(repo, private=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Pruned with Wanda Lab")
    except hub_errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status == 409:
            raise Refused(f"{repo} is on the Hub already: choose a new name") from error
        if status in (401, 403):
            raise Refused(
                f"the Hub does not let you write {repo}: run `hf auth login` or set HF_TOKEN, with a token that may "
                "write"
            ) from error
        raise Refused(f"the Hub refuses {repo}: {' '.join(str(error).split())[:200]}") from error
    except (OSError, hub_errors.HTTPError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Refused(f"{repo} was not uploaded, the Hub cannot be reached: {reason}") from error
    return str(address)
