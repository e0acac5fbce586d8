/** The contract, `metagov.v1`: every message, enum and service, generated from `proto/`. */
export * from "./gen/metagov/v1/access_pb.js";
export * from "./gen/metagov/v1/action_pb.js";
export * from "./gen/metagov/v1/community_pb.js";
export * from "./gen/metagov/v1/error_pb.js";
export * from "./gen/metagov/v1/event_pb.js";
export * from "./gen/metagov/v1/identity_pb.js";
export * from "./gen/metagov/v1/plugin_pb.js";
export * from "./gen/metagov/v1/process_pb.js";
export * from "./gen/metagov/v1/subscription_pb.js";
