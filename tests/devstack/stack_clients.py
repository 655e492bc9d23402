"""Users and clients of the stack under test."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import supabase
from supabase import AsyncClient, AsyncClientOptions

from devstack import Stack, StackInfo


@dataclass(frozen=True)
class Running:
    stack: Stack
    info: StackInfo


@dataclass(frozen=True)
class User:
    id: str
    client: AsyncClient


@asynccontextmanager
async def client_of(info: StackInfo, key: str) -> AsyncGenerator[AsyncClient]:
    async with httpx.AsyncClient(timeout=30) as http:
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        yield await supabase.acreate_client(info.url, key, options)


@asynccontextmanager
async def new_user(info: StackInfo) -> AsyncGenerator[User]:
    async with client_of(info, info.publishable_key) as client:
        answer = await client.auth.sign_up({"email": f"{uuid.uuid4().hex}@example.dev", "password": "long-enough-1"})
        assert answer.user is not None
        assert answer.session is not None
        yield User(answer.user.id, client)
