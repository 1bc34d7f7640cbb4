package extprover

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"wdpost/internal/task"
)

// Stages of the protocol: what a child proves.
const (
	StageWindowPoSt  = "window_post"
	StageWinningPoSt = "winning_post"
)

// cancelEnv in a child's environment says that the host understands hello.
const cancelEnv = "WDPOST_EXTPROVER_CANCEL"

// Longest lines accepted. A request of three full 64 GiB partitions with long
// paths has about 4 MB, with vanilla proofs 250 MB; an answer a few hundred KB.
const (
	maxRequestLine  = 512 << 20
	maxResponseLine = 64 << 20
)

// readyLine is the first line of a child, without line end.
func readyLine(stage string) string { return stage + " processor ready" }

// request is one line from host to child: a task, or the withdrawal of one.
type request struct {
	ID     uint64         `json:"id"`
	Task   *task.Question `json:"task,omitempty"`
	Cancel bool           `json:"cancel,omitempty"`
}

// response is one line from child to host. Hello comes at most once, alone.
type response struct {
	ID     uint64       `json:"id"`
	ErrMsg *string      `json:"err_msg"`
	Output *task.Answer `json:"output"`
	Hello  *hello       `json:"-"`
}

// hello is what a child can do beyond the protocol of peers.
type hello struct {
	Cancel  bool `json:"cancel"`
	Vanilla bool `json:"vanilla,omitempty"` // it takes vanilla proofs with the replicas
}

// decodeRequest reads a request line. ok tells whether the line has an id; a
// malformed request that has one can be answered, with the error.
func decodeRequest(line []byte) (req request, ok bool, err error) {
	var wire struct {
		ID     *uint64        `json:"id"`
		Task   *task.Question `json:"task"`
		Cancel bool           `json:"cancel"`
	}
	err = json.Unmarshal(line, &wire)
	id, ok := idOf(wire.ID, line, err)
	switch {
	case err != nil:
		return request{ID: id}, ok, fmt.Errorf("malformed request: %w", err)
	case !ok:
		return request{}, false, errors.New("malformed request: it has no id")
	case wire.Task == nil && !wire.Cancel:
		return request{ID: id}, true, errors.New("malformed request: it has no task")
	}
	return request{ID: id, Task: wire.Task, Cancel: wire.Cancel}, true, nil
}

// decodeResponse reads a response line. ok tells whether the line has an id;
// with an error besides, the request of that id was answered badly. A hello
// needs no id.
func decodeResponse(line []byte) (resp response, ok bool, err error) {
	var wire struct {
		ID     *uint64      `json:"id"`
		ErrMsg *string      `json:"err_msg"`
		Output *task.Answer `json:"output"`
		Hello  *hello       `json:"hello"`
	}
	err = json.Unmarshal(line, &wire)
	id, ok := idOf(wire.ID, line, err)
	switch {
	case err != nil:
		return response{ID: id}, ok, fmt.Errorf("malformed response: %w", err)
	case wire.Hello != nil:
		return response{Hello: wire.Hello}, true, nil
	case !ok:
		return response{}, false, errors.New("malformed response: it has no id")
	case wire.ErrMsg == nil && wire.Output == nil:
		return response{ID: id}, true, errors.New("malformed response: it has neither output nor err_msg")
	}
	return response{ID: id, ErrMsg: wire.ErrMsg, Output: wire.Output}, true, nil
}

// idOf returns the id of a line, looking for it by itself where the line as a
// whole did not decode.
func idOf(id *uint64, line []byte, decodeErr error) (uint64, bool) {
	if decodeErr != nil {
		var only struct {
			ID *uint64 `json:"id"`
		}
		id = nil
		if json.Unmarshal(line, &only) == nil {
			id = only.ID
		}
	}
	if id == nil {
		return 0, false
	}
	return *id, true
}

// encodeTask is the request line of a question in the form of peers, and with
// its vanilla proofs if it has any.
func encodeTask(id uint64, q task.Question) (line, rich []byte, err error) {
	if slices.ContainsFunc(q.Replicas, func(r task.Replica) bool { return r.Vanilla != nil }) {
		if rich, err = encodeLine(request{ID: id, Task: &q}); err != nil {
			return nil, nil, err
		}
		q.Replicas = slices.Clone(q.Replicas)
		for i := range q.Replicas {
			q.Replicas[i].Vanilla = nil
		}
	}
	line, err = encodeLine(request{ID: id, Task: &q})
	return line, rich, err
}

// encodeAnswer is the response line of an answer; lists are never null, which
// peers in other languages would refuse.
func encodeAnswer(id uint64, a task.Answer) ([]byte, error) {
	if a.Proofs == nil {
		a.Proofs = [][]byte{}
	}
	if a.Faults == nil {
		a.Faults = []uint64{}
	}
	return encodeLine(response{ID: id, Output: &a})
}

// encodeFailure is the response line of a failed request.
func encodeFailure(id uint64, cause error) ([]byte, error) {
	msg := cause.Error()
	return encodeLine(response{ID: id, ErrMsg: &msg})
}

// encodeLine is the JSON of v and a newline.
func encodeLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
