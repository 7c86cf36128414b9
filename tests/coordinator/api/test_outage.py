"""The coordinator's PostgreSQL server is killed and started again under the interface."""

from __future__ import annotations

from pathlib import Path

from tests.support.coordinator_at_work import opened, problem, raw
from tests.support.postgres import Server, mortal, own_server

__all__ = ["mortal", "own_server"]


def test_it_says_so_and_goes_on(tmp_path: Path, mortal: Server) -> None:
    secret = tmp_path / "database"
    secret.touch(mode=0o600)
    secret.write_text(mortal.url)
    with opened(tmp_path / "coordinator") as world:
        with (world.folder / "coordinator.toml").open("a") as file:
            file.write(f'database = "file:{secret}"\n')
        name, body = world.filed("running"), raw(world.study())
        assert world.send("GET", "/readyz").status_code == 200
        for _ in range(2):
            mortal.kill()
            for _ in range(6):  # more than there are dockets
                answer = problem(world.ask("GET", f"/v1/studies/{name}", by="operator"), 503)
                assert "127.0.0.1" not in str(answer)
            problem(world.ask("POST", "/v1/studies", body, by="researcher"), 503)
            problem(world.send("GET", "/v1/trust"), 503)
            ready = world.send("GET", "/readyz")
            assert ready.status_code == 503
            assert [one["check"] for one in ready.json() if not one["ok"]] == ["database"]
            assert world.send("GET", "/livez").status_code == 200
            mortal.start()
            assert world.ask("GET", f"/v1/studies/{name}", by="operator").json()["state"] == "running"
            assert world.send("GET", "/readyz").status_code == 200
        assert world.ask("POST", "/v1/studies", body, by="researcher").status_code == 201
        world.docket.register.verify()
