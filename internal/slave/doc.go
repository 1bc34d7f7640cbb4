// Package slave is the worker of a proving machine: it claims tasks from a
// master, has them proven, checks each proof and delivers it.
//
// What it promises:
//
//   - A finished answer is on the disk before it is sent and stays there until
//     the master has it or wants it no more, across restarts.
//   - While a task is here the master hears of it at every heartbeat interval.
//     An unreachable master is no reason to stop: the attempt number decides
//     in the end whether the answer is taken.
//   - A task ends early when the master says that it is lost, when its window
//     closes, or at the second stop signal; then it is handed back.
//   - After several failures in a row it claims more slowly, so that the tasks
//     go to machines that can prove them.
package slave
