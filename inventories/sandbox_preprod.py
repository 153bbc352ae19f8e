"""The sandbox's preproduction, where a rollback of `inventories/sandbox.py` is rehearsed."""

from sandbox.environment import host_data

demo = [("@scalingo/sandbox-demo-preprod", host_data())]
interface = demo
