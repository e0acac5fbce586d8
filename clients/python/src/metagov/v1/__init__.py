"""The contract, version 1: messages (`*_pb2`) and stubs (`*_pb2_grpc`), generated from `proto/`."""
