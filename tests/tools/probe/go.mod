module tidegate.dev/tests/tools/probe

go 1.24.0
