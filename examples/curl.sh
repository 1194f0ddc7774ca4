#!/bin/sh
# Uses the whole API with curl: `sh examples/curl.sh`. AGENT_STREAM_URL is the URL of the service.
set -eu

URL="${AGENT_STREAM_URL:-http://127.0.0.1:8000}"
API="$URL/api/agent"
JSON="Content-Type: application/json"
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

say() { printf '\n\n== %s\n' "$1"; }
run_id() { tr -d '\r' | awk 'tolower($1) == "x-run-id:" { print $2 }'; }

say "Ready: whether a run can start, and on which model server"
curl -sS --fail-with-body "$URL/ready"

say "Stream: each event as it happens (-N), until complete"
curl -sSN --fail-with-body "$API/stream" -H "$JSON" -d '{"input": "Say hello in one sentence.", "max_tokens": 50}'

say "Execute: the same as one JSON answer"
curl -sS --fail-with-body "$API/execute" -H "$JSON" -d '{"input": "Say hello in one sentence.", "max_tokens": 50}'

say "Simulate: a scripted run with a tool call, which needs neither a model nor a key"
curl -sSN --fail-with-body "$API/stream/simulate" -H "$JSON" -d '{"input": "Is it cold?", "delay_ms": 5}'

say "Resume, 1: a connection that breaks"
curl -sSN "$API/stream/simulate" -H "$JSON" -d '{"scenario": "truncated", "delay_ms": 5}' \
  -D "$scratch/headers" -o "$scratch/body" || echo "curl reports it by its exit status, $?"
run=$(run_id < "$scratch/headers")
last=$(awk '/^id: / { last = $2 } END { print last }' "$scratch/body")

say "Resume, 2: the rest of the stream, after event $last of $run"
curl -sSN --fail-with-body "$API/runs/$run/events" -H "Last-Event-ID: $last"

say "Cancel: disconnect after a run's first event, get the run, and cancel it"
run=$(curl -isN "$API/stream/simulate" -H "$JSON" -d '{"scenario": "long", "delay_ms": 20}' | sed '/^data:/q' | run_id)
curl -sS --fail-with-body "$API/runs/$run"
echo
curl -sS --fail-with-body -X POST "$API/runs/$run/cancel"
echo
curl -sSN --fail-with-body "$API/runs/$run/events" | tail -n 4

say "Background: a run that needs no reader"
run=$(curl -sSi "$API/runs" -H "$JSON" -d '{"input": "Say hello in one sentence.", "max_tokens": 50}' | run_id)
echo "$run"

say "Poll: the events so far as JSON lines, until complete"
last=0
while ! grep -qs '"event":"complete"' "$scratch/events"; do
  curl -sS --fail-with-body "$API/runs/$run/events?wait=false&after=$last" >> "$scratch/events"
  last=$(wc -l < "$scratch/events")
  sleep 0.2
done
cat "$scratch/events"

say "Session: a second question that follows the first"
session="chat-$(date +%s)"
for question in "Say hello in one sentence." "What did I ask you?"; do
  curl -sS --fail-with-body "$API/execute" -H "$JSON" \
    -d "{\"session_id\": \"$session\", \"input\": \"$question\", \"max_tokens\": 50}"
  echo
done
curl -sS --fail-with-body "$API/sessions/$session/messages"

say "Approval: a run waits for a person, for up to a day, and another request answers"
run=$(curl -isN --max-time 2 "$API/stream/simulate" -H "$JSON" -d '{"scenario": "approval", "delay_ms": 5}' |
  sed '/^event: waiting/q' | tee "$scratch/asked" | run_id)
grep -A 1 '^event: approval_request' "$scratch/asked"
call=$(sed -n 's/.*"event":"approval_request","data":{"tool_call_id":"\([^"]*\)".*/\1/p' "$scratch/asked")
curl -sS --fail-with-body "$API/runs/$run/approvals/$call" -H "$JSON" \
  -d '{"approved": true, "arguments": {"folder": "spam"}}'
echo
curl -sSN --fail-with-body "$API/runs/$run/events" | tail -n 4

say "Idempotency-Key: a request that is sent twice starts one run"
key="$(date +%s)-$$"
for _ in first second; do
  curl -sSi "$API/stream" -H "$JSON" -H "Idempotency-Key: $key" \
    -d '{"input": "Say hello in one sentence.", "max_tokens": 50}' | run_id
done

say "A mistake: a refused stream ends like a failed one"
curl -sSN "$API/stream" -H "$JSON" -d '{"input": "", "modle": "openai/gpt-4.1"}'

say "The same as JSON, as all other routes respond"
curl -sS "$API/stream" -H "$JSON" -H "Accept: application/json" -d '{"input": "", "modle": "openai/gpt-4.1"}'
echo
