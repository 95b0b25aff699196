# The two commands of the README in a fresh Debian:
#
#   docker build --tag flowsim .
#   docker run --rm flowsim             # make demo
#   docker run --rm flowsim make test
#
# Where it was written there is no Docker: this file has not been built yet.
FROM python:3.12-slim-trixie
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /flowsim
COPY . .
CMD ["make", "demo"]
