"""Texts that searches train on."""

from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile

from nas.client.models import Corpora, CorpusInfo
from services.controller.access import Reading, Writing
from services.controller.corpora import Text, bring, listed
from services.controller.routes import problems
from services.controller.service import TheService
from services.controller.settings import UPLOAD_BYTES

router = APIRouter(prefix="/corpora", tags=["corpora"])
Files = Annotated[list[UploadFile], File(description="text files, UTF-8")]
Some = Annotated[list[UploadFile], File(min_length=1, description="text files, UTF-8")]


@router.get("", response_model=Corpora, responses=problems())
def list_corpora(service: TheService, caller: Reading) -> Corpora:
    """Those of the package, and those that were brought."""
    return Corpora(corpora=listed(service.home.corpora))


@router.post(
    "",
    status_code=201,
    response_model=CorpusInfo,
    responses=problems(413),
    max_body_size=UPLOAD_BYTES,
    form_limits={"max_files": 10_000},
)
def upload(
    service: TheService,
    caller: Writing,
    name: Annotated[str, Form(max_length=60, examples=["novels"])],
    train: Some,
    validation: Files = [],  # noqa: B006 - it is only read
    test: Files = [],  # noqa: B006
) -> CorpusInfo:
    """Bring texts. Without files for validation and test those are carved from the others by the search."""
    splits = {"train": train, "validation": validation, "test": test}
    texts = [
        Text(split, (own.filename or "").rpartition("/")[2], own.file)
        for split, files in splits.items()
        for own in files
    ]
    return bring(service.home.corpora, name, texts, service.home.depot)
