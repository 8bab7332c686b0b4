"""The harness's own processes: readers, publisher and chores, each told what to do by `processes.Worker`."""
