"""The store of several servers: etcd v3 over gRPC (CLUSTER-21). `opening.etcd_store` makes one.

This package imports neither grpc nor protobuf until a store is made; they come with the extra `etcd`.
"""
