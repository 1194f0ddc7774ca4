#!/bin/sh
# The service by curl, top to bottom: `sh examples/curl.sh`. AGENT_STREAM_URL says where it is.
set -eu

URL="${AGENT_STREAM_URL:-http://127.0.0.1:8000}"
API="$URL/api/agent"
JSON="Content-Type: application/json"
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

say() { printf '\n\n== %s\n' "$1"; }
run_id() { tr -d '\r' | awk 'tolower($1) == "x-run-id:" { print $2 }'; }

say "Is it ready, and what would answer?"
curl -sS --fail-with-body "$URL/ready"

say "Stream: each event as it happens (-N), until complete"
curl -sSN --fail-with-body "$API/stream" -H "$JSON" -d '{"input": "Say hello in one sentence.", "max_tokens": 50}'

say "Execute: the same in one answer"
curl -sS --fail-with-body "$API/execute" -H "$JSON" -d '{"input": "Say hello in one sentence.", "max_tokens": 50}'

say "Simulate: a scripted run with a tool call, which needs neither a model nor a key"
curl -sSN --fail-with-body "$API/stream/simulate" -H "$JSON" -d '{"input": "Is it cold?", "delay_ms": 5}'

say "Resume, 1: a connection that is torn"
curl -sSN "$API/stream/simulate" -H "$JSON" -d '{"scenario": "truncated", "delay_ms": 5}' \
  -D "$scratch/headers" -o "$scratch/body" || echo "curl says so by its exit status, $?"
run=$(run_id < "$scratch/headers")
last=$(awk '/^id: / { last = $2 } END { print last }' "$scratch/body")

say "Resume, 2: what comes after event $last of $run, as if nothing had happened"
curl -sSN --fail-with-body "$API/runs/$run/events" -H "Last-Event-ID: $last"

say "Cancel: leave a run after its first event, look at it, and end it"
run=$(curl -isN "$API/stream/simulate" -H "$JSON" -d '{"scenario": "long", "delay_ms": 20}' | sed '/^data:/q' | run_id)
curl -sS --fail-with-body "$API/runs/$run"
echo
curl -sS --fail-with-body -X POST "$API/runs/$run/cancel"
echo
curl -sSN --fail-with-body "$API/runs/$run/events" | tail -n 4

say "Background: a run that nobody has to follow"
run=$(curl -sSi "$API/runs" -H "$JSON" -d '{"input": "Say hello in one sentence.", "max_tokens": 50}' | run_id)
echo "$run"

say "Poll: what there is by now, as JSON lines, until complete"
last=0
while ! grep -qs '"event":"complete"' "$scratch/events"; do
  curl -sS --fail-with-body "$API/runs/$run/events?wait=false&after=$last" >> "$scratch/events"
  last=$(wc -l < "$scratch/events")
  sleep 0.2
done
cat "$scratch/events"

say "Session: a second question that builds on the first"
session="chat-$(date +%s)"
for question in "Say hello in one sentence." "What did I ask you?"; do
  curl -sS --fail-with-body "$API/execute" -H "$JSON" \
    -d "{\"session_id\": \"$session\", \"input\": \"$question\", \"max_tokens\": 50}"
  echo
done
curl -sS --fail-with-body "$API/sessions/$session/messages"

say "Approval: a run waits for a person, who has all day, and another process answers"
run=$(curl -isN --max-time 2 "$API/stream/simulate" -H "$JSON" -d '{"scenario": "approval", "delay_ms": 5}' |
  sed '/^event: waiting/q' | tee "$scratch/asked" | run_id)
grep -A 1 '^event: approval_request' "$scratch/asked"
call=$(sed -n 's/.*"event":"approval_request","data":{"tool_call_id":"\([^"]*\)".*/\1/p' "$scratch/asked")
curl -sS --fail-with-body "$API/runs/$run/approvals/$call" -H "$JSON" \
  -d '{"approved": true, "arguments": {"folder": "spam"}}'
echo
curl -sSN --fail-with-body "$API/runs/$run/events" | tail -n 4

say "Idempotency-Key: a request that is sent twice is one run"
key="$(date +%s)-$$"
for _ in first second; do
  curl -sSi "$API/stream" -H "$JSON" -H "Idempotency-Key: $key" \
    -d '{"input": "Say hello in one sentence.", "max_tokens": 50}' | run_id
done

say "A mistake: a refused stream has the events of one that failed"
curl -sSN "$API/stream" -H "$JSON" -d '{"input": "", "modle": "openai/gpt-4.1"}'

say "The same as JSON, which all other routes answer"
curl -sS "$API/stream" -H "$JSON" -H "Accept: application/json" -d '{"input": "", "modle": "openai/gpt-4.1"}'
echo
