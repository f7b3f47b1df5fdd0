"""Chat templates with the markup of real families, as short as they can be.

Written for these tests. The markup is that of the models' own templates: what stands around tools,
calls, results and thoughts, and what those templates refuse.
"""

_CHATML = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_ASSISTANT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

# Qwen2.5, Hermes 2 Pro
HERMES = (
    "{% if tools %}<|im_start|>system\n<tools>{% for t in tools %}\n{{ t | tojson }}{% endfor %}\n"
    '</tools>\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n'
    "</tool_call><|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
    "{{ m.content }}\n</tool_response><|im_end|>\n"
    "{% elif m.tool_calls %}<|im_start|>assistant\n{{ m.content }}"
    "{% for c in m.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n"
    "{% else %}" + _CHATML + "{% endif %}{% endfor %}" + _ASSISTANT
)
# Qwen3: the model decides whether to think, unless the template has closed the thoughts
QWEN3 = (
    HERMES.replace(_ASSISTANT, "")
    + "{% if false %}</think>{% endif %}"
    + _ASSISTANT
    + "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
    "{% endif %}"
)
# QwQ, DeepSeek R1, Qwen3 Thinking: the template opens the thoughts
ALWAYS_THINKING = HERMES.replace(
    _ASSISTANT, "{% if false %}</think>{% endif %}<|im_start|>assistant\n<think>\n"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n"
    "{{ m.content | tojson }}<|eot_id|>{% elif 'tool_calls' in m %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at once') }}{% endif %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
    '{"name": "{{ m.tool_calls[0].function.name }}", '
    "{{ '\"parameters\": ' }}{{ m.tool_calls[0].function.arguments | tojson }}}<|eot_id|>"
    "{% else %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% if tools and loop.last %}{% for t in tools %}{{ t | tojson(indent=4) }}\n\n{% endfor %}"
    "{% endif %}{{ m.content }}<|eot_id|>{% endif %}{% endfor %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.tool_calls or m.role == 'tool' %}"
    "{% set id = m.tool_calls[0].id if m.tool_calls else m.tool_call_id %}"
    "{% if id is not defined or id | length != 9 %}{{ raise_exception('ids have 9 letters') }}"
    "{% endif %}{% endif %}"
    "{% if m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]"
    "{% elif m.tool_calls %}CALLS{{ eos_token }}"
    "{% elif m.role == 'user' %}"
    "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST]{{ m.content }}[/INST]{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_LIST = _MISTRAL.replace(
    "CALLS",
    "[TOOL_CALLS][{% for c in m.tool_calls %}{{ c.function | tojson }}{% endfor %}]",
)
MISTRAL_NAMED = _MISTRAL.replace(
    "CALLS",
    "{% for c in m.tool_calls %}[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]"
    "{{ c.function.arguments | tojson }}{% endfor %}",
)
PLAIN = "{% for m in messages %}" + _CHATML + "{% endfor %}" + _ASSISTANT
CHANNELS = (
    "{% for m in messages %}<|start|>{{ m.role }}"
    "{{ '<|channel|>final<|message|>' if m.role == 'assistant' else '<|message|>' }}"
    "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
FAMILIES = {
    "hermes": HERMES, "qwen3": QWEN3, "always thinking": ALWAYS_THINKING, "llama3": LLAMA3,
    "mistral list": MISTRAL_LIST, "mistral named": MISTRAL_NAMED, "plain": PLAIN,
    "channels": CHANNELS,
}  # fmt: skip
