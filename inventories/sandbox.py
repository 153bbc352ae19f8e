"""The sandbox's protected environment: what production is, on this machine (`python -m sandbox up`)."""

from sandbox.environment import host_data

demo = [("@scalingo/sandbox-demo", host_data())]
interface = demo
