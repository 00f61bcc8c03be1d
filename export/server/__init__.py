"""A server of exported models, compatible with TensorFlow Serving's API (REST and gRPC).

Its protocol comes from tensorflow-serving-api and grpcio, its plumbing from Starlette and uvicorn: the extra `serve`.
"""
