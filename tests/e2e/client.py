"""The official OpenAI client against a server: client.py URL.  Completes,
streams, chats, meets errors, cancels; exit 0 if all is as the client's types
say.  Run by openai.bats, nowhere else."""
import sys
import time
import urllib.request

import openai

url = sys.argv[1]
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
MODEL = client.models.list().data[0].id
ONCE = "Once upon a time"


def metric(name):
    text = urllib.request.urlopen(url + "/metrics").read().decode()
    return sum(float(x.split()[-1]) for x in text.splitlines()
               if x.startswith(name + "{"))


def completes():
    r = client.completions.create(model=MODEL, prompt=ONCE, max_tokens=20,
                                  seed=5, logprobs=2, n=2)
    assert len(r.choices) == 2 and r.choices[1].index == 1
    assert r.usage.prompt_tokens == 5 and r.usage.completion_tokens <= 40
    assert len(r.choices[0].logprobs.tokens) == len(
        r.choices[0].logprobs.token_logprobs)
    again = client.completions.create(model=MODEL, prompt=ONCE, max_tokens=20,
                                      seed=5, n=2)
    assert [c.text for c in again.choices] == [c.text for c in r.choices]


def streams():
    whole = client.completions.create(model=MODEL, prompt=ONCE, max_tokens=30,
                                      seed=6).choices[0].text
    text, usage, n = "", None, 0
    for chunk in client.completions.create(
            model=MODEL, prompt=ONCE, max_tokens=30, seed=6, stream=True,
            stream_options={"include_usage": True}):
        n += 1
        usage = chunk.usage or usage
        text += "".join(c.text for c in chunk.choices)
    assert text == whole and n > 3 and usage.completion_tokens <= 30


def chats():
    messages = [{"role": "system", "content": "Tell a story."},
                {"role": "user", "content": "Who was there?"}]
    r = client.chat.completions.create(
        model=MODEL, messages=messages, max_completion_tokens=16, seed=7,
        logprobs=True, top_logprobs=3)
    assert r.choices[0].message.role == "assistant"
    assert len(r.choices[0].logprobs.content) == r.usage.completion_tokens
    assert len(r.choices[0].logprobs.content[0].top_logprobs) >= 3
    text = ""
    for chunk in client.chat.completions.create(
            model=MODEL, messages=messages, max_completion_tokens=16, seed=7,
            stream=True):
        text += "".join(c.delta.content or "" for c in chunk.choices)
    assert text == r.choices[0].message.content


def fails():
    for kind, param, args in (
            (openai.BadRequestError, "max_tokens", {"max_tokens": -1}),
            (openai.BadRequestError, "temperature", {"temperature": -1}),
            (openai.NotFoundError, "model", {"model": "gpt-9"})):
        try:
            client.completions.create(**{"model": MODEL, "prompt": ONCE,
                                         **args})
        except kind as e:
            assert e.param == param, e.param
        else:
            raise AssertionError(param + ": no error")


def cancels():
    before = metric("moe_requests_aborted_total")
    stream = client.completions.create(
        model=MODEL, prompt=ONCE, max_tokens=1000, stream=True,
        extra_body={"ignore_eos": True})
    next(iter(stream))
    stream.close()
    end = time.monotonic() + 10
    while (metric("moe_requests_aborted_total") != before + 1
           or metric("vllm:num_requests_running") != 0):
        assert time.monotonic() < end, "not cancelled"


for test in completes, streams, chats, fails, cancels:
    test()
    print("ok", test.__name__)
