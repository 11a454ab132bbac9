"""The web dashboard: pages over what the API gives. Everything that changes something goes through the API."""

from fastapi import APIRouter

from services.controller.pages import assets, candidate, compare, devices, login, new, progress, search, searches

router = APIRouter(include_in_schema=False)
for own in (searches, new, search, progress, candidate, compare, devices, login, assets):
    router.include_router(own.router)
