#!/usr/bin/env bats
# The official OpenAI client of Python, where there is one: MOE_PYTHON names an
# interpreter that has it.  Nothing else of the toolkit needs Python.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

@test "the official client completes, streams, chats, meets errors and cancels" {
	local python=${MOE_PYTHON:-python3}
	"$python" -c 'import openai' 2>/dev/null ||
		lack openai "$python has no package openai"
	start_experts models/tales shm 3 2
	start_front f -m models/tales -f "$RUN/cluster.conf"
	"$python" tests/e2e/client.py "$URL" >"$RUN/log"
	[ "$(grep -c ^ok "$RUN/log")" -eq 5 ]
}
