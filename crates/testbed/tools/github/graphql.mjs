// Checks GraphQL requests, one JSON object a line on stdin, against GitHub's schema. Prints what is wrong.
import fs from "node:fs";
import readline from "node:readline";
import { buildSchema, getOperationAST, getVariableValues, parse, validate } from "graphql";

// GitHub's schema defines some fields twice.
const schema = buildSchema(fs.readFileSync("node_modules/@octokit/graphql-schema/schema.graphql", "utf8"), {
  assumeValidSDL: true,
  assumeValid: true,
});
let problems = 0;
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { query, variables } = JSON.parse(line);
  const document = parse(query);
  const definitions = getOperationAST(document)?.variableDefinitions ?? [];
  const found = [...validate(schema, document), ...(getVariableValues(schema, definitions, variables ?? {}).errors ?? [])];
  for (const { message } of found) console.log(message);
  problems += found.length;
}
process.exit(problems === 0 ? 0 : 1);
