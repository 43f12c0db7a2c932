"""What holds for every operation: keys, roles, bodies, repeats, entity tags, methods, paths."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from sqlalchemy import text

from gateway.api.admin.roles import ROLES
from gateway.api.admin.routes import OPERATIONS
from gateway.domain.tenancy import ROLES as ROLE_NAMES
from tests.api.admin.conftest import OWNER, START_US, Plane


class TestKeys:
    def test_no_key_or_a_wrong_one_is_401(self, plane: Plane) -> None:
        for headers in (
            {},
            {"authorization": "Basic abc"},
            {"authorization": "Bearer "},
            {"authorization": "Bearer nobody-knows-this-key"},
            {"authorization": OWNER},
            {"authorization": "Bearer \xe4\xf6"},
        ):
            answer = plane.raw("GET", "/admin/accounts", headers=headers)
            assert (answer.status, answer.json["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"].startswith("Bearer")

    def test_the_key_comes_before_the_body(self, plane: Plane) -> None:
        answer = plane.raw("POST", "/admin/accounts", b"{", {"content-type": "text/plain"})
        assert answer.status == 401

    def test_a_revoked_key_is_401(self, plane: Plane) -> None:
        made = plane.post("/admin/admin-keys", {"name": "temp", "role": "viewer"})
        assert plane.get("/admin/accounts", key=made["key"])["data"] == []
        plane.delete(f"/admin/admin-keys/{made['id']}")
        assert plane.refused("GET", "/admin/accounts", key=made["key"])["status"] == 401


class TestRoles:
    def test_every_operation_has_roles_and_no_role_is_unknown(self) -> None:
        assert {operation.name for operation in OPERATIONS} == set(ROLES)
        assert {role for roles in ROLES.values() for role in roles} == set(ROLE_NAMES)
        for operation in OPERATIONS:
            assert "owner" in ROLES[operation.name]
            if operation.is_write:
                assert "viewer" not in ROLES[operation.name]
                is_of_finance = operation.name.partition(".")[0] in ("fx", "periods")
                assert ("finance" in ROLES[operation.name]) == is_of_finance

    def test_each_role_may_do_what_the_table_says_and_nothing_else(self, plane: Plane) -> None:
        for operation in OPERATIONS:
            path = operation.path.replace("{", "").replace("}", "")
            for role in ("operator", "finance", "viewer"):
                answer = plane.call(operation.method, path, {}, key=f"{role}-key-of-the-tests")
                is_refused = answer.status == 403 and answer.json["code"] == "role_not_allowed"
                assert is_refused == (role not in ROLES[operation.name]), (operation.name, role, answer.body)


class TestBodies:
    BAD: tuple[tuple[bytes, int, str, str | None], ...] = (
        (b"", 400, "invalid_json", None),
        (b"{", 400, "invalid_json", None),
        (b'{"name":"a"} x', 400, "invalid_json", None),
        (b'{"name":"\xff"}', 400, "invalid_json", None),
        (b'{"name":"\\ud800"}', 400, "invalid_json", None),
        (b'{"name":"a","metadata":{"a":' + b"[" * 100_000, 400, "invalid_json", None),
        (b"[]", 400, "invalid_value", None),
        (b'"name"', 400, "invalid_value", None),
        (b"{}", 400, "invalid_value", "name"),
        (b'{"name":null}', 400, "invalid_value", "name"),
        (b'{"name":1}', 400, "invalid_value", "name"),
        (b'{"name":"a","parnet":"x"}', 400, "unsupported_field", "parnet"),
        (b'{"name":"a","a\\u0000b":1}', 400, "unsupported_field", "a\x00b"),
        (b'{"name":"a","metadata":{"x":{"y":["\\u0000"]}}}', 400, "invalid_value", "metadata.x.y[0]"),
        (b'{"name":"a","metadata":{"\\u0000":1}}', 400, "invalid_value", "metadata"),
    )

    def test_what_cannot_be_understood_is_named(self, plane: Plane) -> None:
        for body, status, code, param in self.BAD:
            problem = plane.refused("POST", "/admin/accounts", body)
            assert (problem["status"], problem["code"], problem["param"]) == (status, code, param), body[:60]
        assert plane.get("/admin/accounts")["data"] == []
        assert plane.changed == []

    def test_a_misspelt_field_gets_the_right_spelling(self, plane: Plane) -> None:
        assert "parent" in plane.refused("POST", "/admin/accounts", {"name": "a", "parnet": None})["hint"]
        hint = plane.refused("PATCH", "/admin/accounts/acct_x", {"status": "closed"})["hint"]
        assert hint == "Use one of active, blocked."

    def test_only_json_is_taken(self, plane: Plane) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
            problem = plane.refused(
                "POST", "/admin/accounts", b'{"name":"a"}', headers={"content-type": kind}
            )
            assert (problem["status"], problem["param"]) == (415, "Content-Type")
        kind = "Application/JSON; charset=utf-8"
        assert (
            plane.call("POST", "/admin/accounts", b'{"name":"a"}', headers={"content-type": kind}).status
            == 201
        )

    def test_no_body_will_do_where_nothing_must_be_said(self, plane: Plane) -> None:
        account = plane.post("/admin/accounts", {"name": "acme"})["id"]
        key = plane.post("/admin/keys", {"account": account, "name": "ci"})
        path, headers = f"/admin/keys/{key['id']}/rotate", {"authorization": f"Bearer {OWNER}"}
        assert plane.raw("POST", path, None, headers).status == 200
        assert plane.raw("POST", path, b"{}", headers).status == 415
        assert plane.raw("POST", "/admin/accounts", None, headers).status == 415

    def test_a_body_has_a_bound(self, plane: Plane) -> None:
        body = b'{"name":"' + b"a" * (4 * 1024 * 1024) + b'"}'
        assert plane.refused("POST", "/admin/accounts", body)["status"] == 413

    def test_queries_are_as_strict(self, plane: Plane) -> None:
        for query, code, param in (
            ("limit=0", "invalid_value", "limit"),
            ("limit=1001", "invalid_value", "limit"),
            ("limit=five", "invalid_value", "limit"),
            ("limit=5&limit=6", "invalid_value", "limit"),
            ("deleted=maybe", "invalid_value", "deleted"),
            ("after=%00", "invalid_value", "after"),
            ("lmit=5", "unsupported_field", "lmit"),
            ("path=a%00b", "invalid_value", "path"),
        ):
            problem = plane.refused("GET", f"/admin/accounts?{query}")
            assert (problem["status"], problem["code"], problem["param"]) == (400, code, param), query
        assert plane.refused("GET", "/admin/accounts/acct_x?force=1")["code"] == "unsupported_field"

    def test_ids_that_can_be_nobodys_are_404(self, plane: Plane) -> None:
        for path in ("acct_nobody", "%00", "a%20b", "x" * 100, "%ff", "'; DROP TABLE accounts"):
            quoted = path.replace(" ", "%20").replace("'", "%27")
            assert plane.refused("GET", f"/admin/accounts/{quoted}")["status"] == 404


class TestPaths:
    def test_other_methods_are_405_and_say_which_are_there(self, plane: Plane) -> None:
        answer = plane.call("PUT", "/admin/accounts")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
        assert answer.json["code"] == "unsupported_endpoint"
        assert plane.call("TRACE", "/admin/accounts/acct_x").headers["allow"] == "DELETE, GET, PATCH"
        head = plane.call("HEAD", "/admin/accounts")
        assert (head.status, head.body) == (200, b"")

    def test_other_paths_are_404(self, plane: Plane) -> None:
        for path in (
            "/admin/",
            "/admin/nothing",
            "/admin/accounts/",
            "/admin/accounts/a/b",
            "/admin//accounts",
        ):
            assert plane.refused("GET", path)["code"] == "unsupported_endpoint"


class TestRepeats:
    BODY: ClassVar = {"name": "acme"}

    def test_a_repeat_changes_nothing_and_answers_the_same(self, plane: Plane) -> None:
        headers = {"idempotency-key": "b4f1"}
        first = plane.call("POST", "/admin/accounts", self.BODY, headers=headers)
        plane.changed.clear()
        again = plane.call("POST", "/admin/accounts", self.BODY, headers=headers)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers
        assert plane.changed == []
        assert len(plane.get("/admin/accounts")["data"]) == 1
        assert len(plane.get("/admin/audit?limit=1000")["data"]) == 2

    def test_a_repeat_gives_the_same_key_and_the_database_cannot(self, plane: Plane) -> None:
        account = plane.post("/admin/accounts", self.BODY)["id"]
        headers, body = {"idempotency-key": "k"}, {"account": account, "name": "ci"}
        first = plane.post("/admin/keys", body, headers=headers)
        assert plane.post("/admin/keys", body, headers=headers) == first
        with plane.engine.connect() as conn:
            [stored] = conn.execute(text("SELECT body FROM answers")).scalars()
        assert first["key"].encode() not in bytes(stored)
        assert len(plane.get("/admin/keys")["data"]) == 1

    def test_the_key_of_another_request_is_422(self, plane: Plane) -> None:
        headers = {"idempotency-key": "k"}
        plane.post("/admin/accounts", self.BODY, headers=headers)
        for path, body in (("/admin/accounts", {"name": "b"}), ("/admin/admin-keys", self.BODY)):
            body = {**body, "role": "viewer"} if "keys" in path else body
            problem = plane.refused("POST", path, body, headers=headers)
            assert (problem["status"], problem["code"]) == (422, "idempotency_mismatch")
        other = plane.call(
            "POST", "/admin/accounts", {"name": "b"}, headers=headers, key="operator-key-of-the-tests"
        )
        assert other.status == 201

    def test_a_refusal_is_not_remembered(self, plane: Plane) -> None:
        headers, body = {"idempotency-key": "k"}, {"account": "acct_x", "unit": "usd", "amount": "1"}
        assert plane.refused("POST", "/admin/grants", body, headers=headers)["status"] == 404
        account = plane.post("/admin/accounts", self.BODY)["id"]
        plane.post("/admin/grants", {**body, "account": account}, headers=headers)

    def test_a_day_later_the_key_is_new(self, plane: Plane) -> None:
        headers = {"idempotency-key": "k"}
        plane.post("/admin/accounts", self.BODY, headers=headers)
        plane.clock.advance(86_400)
        assert plane.refused("POST", "/admin/accounts", self.BODY, headers=headers)["status"] == 409

    def test_keys_that_cannot_be_kept_are_refused(self, plane: Plane) -> None:
        for key in ("x" * 256, "\xe4", ""):
            problem = plane.refused("POST", "/admin/accounts", self.BODY, headers={"idempotency-key": key})
            assert problem["param"] == "Idempotency-Key"

    def test_many_repeats_at_once_make_one(self, plane: Plane) -> None:
        account = plane.post("/admin/accounts", self.BODY)["id"]

        def post(_: int) -> Any:
            body = {"account": account, "unit": "tokens", "amount": "7"}
            return plane.post("/admin/grants", body, headers={"idempotency-key": "k"})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, range(8)))
        assert all(answer == answers[0] for answer in answers)
        assert len(plane.get("/admin/grants")["data"]) == 1


class TestEntityTags:
    def test_a_change_of_what_was_not_seen_is_412(self, plane: Plane) -> None:
        made = plane.call("POST", "/admin/accounts", {"name": "acme"})
        path, seen = f"/admin/accounts/{made.json['id']}", made.headers["etag"]
        assert plane.call("GET", path).headers["etag"] == seen
        changed = plane.call("PATCH", path, {"kind": "a"}, headers={"if-match": seen})
        assert changed.status == 200
        assert changed.headers["etag"] != seen
        problem = plane.refused("PATCH", path, {"kind": "b"}, headers={"if-match": seen})
        assert (problem["status"], problem["code"]) == (412, "precondition_failed")
        assert plane.get(path)["kind"] == "a"
        assert plane.call("PATCH", path, {"kind": "c"}, headers={"if-match": "*"}).status == 200

    def test_of_many_changes_at_once_one_is_made(self, plane: Plane) -> None:
        made = plane.call("POST", "/admin/accounts", {"name": "acme"})
        path, seen = f"/admin/accounts/{made.json['id']}", made.headers["etag"]

        def patch(number: int) -> int:
            body = {"cost_center": str(number)}
            return plane.call("PATCH", path, body, headers={"if-match": seen}).status

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(patch, range(8))) == [200] + [412] * 7

    @pytest.mark.parametrize("kind", ["keys", "budgets", "admin-keys"])
    def test_everything_that_changes_has_one(self, plane: Plane, kind: str) -> None:
        account = plane.post("/admin/accounts", {"name": "acme"})["id"]
        bodies = {
            "keys": {"account": account, "name": "x"},
            "budgets": {"name": "x", "cap": "1", "period": "day"},
            "admin-keys": {"name": "x", "role": "viewer"},
        }
        made = plane.call("POST", f"/admin/{kind}", bodies[kind])
        path, seen = f"/admin/{kind}/{made.json['id']}", made.headers["etag"]
        assert plane.call("PATCH", path, {"name": "y"}, headers={"if-match": seen}).status == 200
        assert plane.call("PATCH", path, {"name": "z"}, headers={"if-match": seen}).status == 412


def test_a_refused_change_leaves_no_trace(plane: Plane) -> None:
    with plane.engine.connect() as conn:
        before = conn.execute(text("SELECT topic, number FROM revisions ORDER BY topic")).all()
    plane.refused("PATCH", "/admin/accounts/acct_x", {"kind": "a"})
    plane.refused("POST", "/admin/keys", {"account": "acct_x", "name": "n"})
    with plane.engine.connect() as conn:
        assert conn.execute(text("SELECT topic, number FROM revisions ORDER BY topic")).all() == before
    assert plane.changed == []
    assert plane.clock.now_us() == START_US
