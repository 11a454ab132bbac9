"""Models to take away."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from nas.client.models import ExportInfo, ExportList, NewExport
from nas.errors import StateError
from services.controller.access import Reading, Writing
from services.controller.routes import problems
from services.controller.service import TheService

router = APIRouter(prefix="/exports", tags=["exports"])


@router.post("", status_code=202, response_model=ExportInfo, responses=problems(404, 409, 413))
def export(service: TheService, caller: Writing, new: NewExport) -> ExportInfo:
    """Have a trained candidate exported for transformers, on a worker. The same again is not made again."""
    record = service.store.candidate(new.search_id, new.number)
    if not record.artifact:
        raise StateError(f"candidate {new.search_id}/{new.number} is {record.state}, only completed ones have weights")
    return service.exports.start(new.search_id, new.number)


@router.get("", response_model=ExportList, responses=problems())
def list_exports(service: TheService, caller: Reading) -> ExportList:
    return ExportList(exports=service.exports.all())


@router.get("/{export_id}", response_model=ExportInfo, responses=problems(404))
def get_export(service: TheService, caller: Reading, export_id: str) -> ExportInfo:
    """How far it is."""
    return service.exports.find(export_id)


@router.get(
    "/{export_id}/archive",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "a part, as asked for by Range", "content": {"application/gzip": {}}},
        416: {"description": "no such part"},
        **problems(404, 409),
    },
)
def download(service: TheService, caller: Reading, export_id: str) -> FileResponse:
    """A gzipped tar of the model's folder; its SHA-256 is that of the export."""
    path = service.exports.archive(export_id)
    return FileResponse(path, media_type="application/gzip", filename=path.name)
