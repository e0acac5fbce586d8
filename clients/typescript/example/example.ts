/** A first driver: draws a lucky number, and has a community vote on lunch. */
import process from "node:process";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { connect, failure, fromValue, type Client } from "metagov";
import { ProcessState } from "metagov/v1";

const communityId = process.argv[2] ?? "example";

async function main(metagov: Client): Promise<void> {
  await unlessThere(metagov.communities.createCommunity({ community: { communityId } }));
  const config = { default_low: 0, default_high: 10 };
  await unlessThere(metagov.plugins.enablePlugin({ communityId, plugin: "randomness", config }));
  await unlessThere(metagov.plugins.enablePlugin({ communityId, plugin: "ballot" }));

  const parameters = { low: 1, high: 7 };
  const drawn = await metagov.actions.performAction({ communityId, action: "randomness.random-int", parameters });
  const { value } = fromValue(drawn.result) as { value: number };
  console.log(`lucky number: ${value}`);

  const started = await metagov.processes.startProcess({
    communityId,
    processType: "ballot.vote",
    parameters: { title: "Lunch?", options: ["soup", "bread"] },
    closeTime: timestampFromDate(new Date(Date.now() + 5_000)),
  });
  const processId = started.process?.processId ?? "";
  const ballot = { process_id: processId, voter: "ada", choices: ["soup"] };
  await metagov.actions.performAction({ communityId, action: "ballot.cast", parameters: ballot });
  console.log(`decided: ${await decided(metagov, processId)}`);
}

/** Reads the events of one process until it is completed. */
async function decided(metagov: Client, processId: string): Promise<string> {
  for await (const { event } of metagov.watch({ filter: { processIds: [processId] }, start: "earliest" })) {
    const vote = event.payload.case === "processChanged" ? event.payload.value.process : undefined;
    if (vote?.state === ProcessState.COMPLETED) return vote.tally?.leadingOptions.join(", ") ?? "";
  }
  return "";
}

/** What is there already is fine. */
async function unlessThere(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (ConnectError.from(error).code !== Code.AlreadyExists) throw error;
  });
}

await main(connect()).catch((error: unknown) => {
  const { code, message, advice } = failure(error);
  console.error(`${code}: ${message}; ${advice}`);
  process.exitCode = 1;
});
