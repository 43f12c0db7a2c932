// Plays one team's calls with the official `openai` package; prints what it saw as JSON.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.GATEWAY_URL + "/v1",
  apiKey: process.env.GATEWAY_KEY,
  maxRetries: 0,
});
const model = process.env.GATEWAY_MODEL;
const hello = { role: "user", content: "Tell me about the sea. [[sim: words=12]]" };
const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const seen = {};

const whole = await client.chat.completions.create({ model, messages: [hello] });
seen.text = whole.choices[0].message.content;
seen.usage = whole.usage.total_tokens;

seen.stream = "";
for await (const chunk of await client.chat.completions.create({
  model,
  messages: [hello],
  stream: true,
  stream_options: { include_usage: true },
})) {
  seen.stream += chunk.choices[0]?.delta?.content ?? "";
  seen.finish = chunk.choices[0]?.finish_reason ?? seen.finish;
  seen.streamUsage = chunk.usage?.total_tokens ?? seen.streamUsage;
}

seen.calls = 0;
const runner = client.chat.completions.runTools({
  model,
  stream: true,
  messages: [{ role: "user", content: "The weather? [[sim: tools=2]]" }],
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        description: "The weather of a city.",
        parameters,
        parse: JSON.parse,
        function: ({ city }) => {
          seen.calls += typeof city === "string" ? 1 : 100;
          return "Sunny.";
        },
      },
    },
  ],
});
seen.afterTools = await runner.finalContent();

if (process.env.GATEWAY_SEES === "1") {
  const parts = [
    { type: "text", text: "What is this?" },
    { type: "image_url", image_url: { url: pixel } },
  ];
  const saw = await client.chat.completions.create({ model, messages: [{ role: "user", content: parts }] });
  seen.vision = saw.choices[0].message.content;
  const formed = await client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Where?" }],
    response_format: { type: "json_schema", json_schema: { name: "place", schema: parameters, strict: true } },
  });
  seen.structured = typeof JSON.parse(formed.choices[0].message.content).city;
}

try {
  await client.chat.completions.create({ model, messages: [{ role: "user", content: "[[sim: status=429]]" }] });
} catch (error) {
  seen.limited = [error.constructor.name, error.status, error.error?.tollgate?.code];
}
try {
  const broken = await client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Tell me. [[sim: words=30 fault=error_midstream after=3]]" }],
    stream: true,
  });
  for await (const _ of broken);
} catch (error) {
  seen.broken = error.message;
}
console.log(JSON.stringify(seen));
