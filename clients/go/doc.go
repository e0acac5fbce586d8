// Package metagov calls a Metagov gateway: one gRPC API over the tools that communities
// talk and decide with.
//
// [Connect] gives a [Client], which has the stub of every service and what every driver
// needs beside them:
//
//   - [Client.Watch] reads the events of communities, and goes on by itself where it was
//     after a break, a restart of the gateway included.
//   - [Client.WaitForProcess] returns once a process is done.
//   - [FaultOf] turns an error into its reason, the fields at fault, when to try again
//     and what to do.
//   - [ToStruct], [FromStruct] and their like for one value are the way from JSON-like
//     values to messages and back, with whole numbers.
//
// The messages and stubs themselves are in metagov.org/go/metagov/v1.
package metagov
