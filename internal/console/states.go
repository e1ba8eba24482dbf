package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

// stateEvent is one event of the stream of states. It contains no material.
type stateEvent struct {
	ID    string `json:"id"`
	Word  string `json:"word"`
	Class string `json:"class"`
	Etag  string `json:"etag"`
}

// states streams the states of the credentials on a page as server-sent events, until the session or
// the server ends.
func (c *Console) states(w http.ResponseWriter, r *http.Request) error {
	shown := r.URL.Query()["id"]
	if len(shown) == 0 || len(shown) > tilesPerPage {
		return errMissing // the pages of the console name one to tilesPerPage credentials
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(personOf(r).ended, cancel)()
	defer context.AfterFunc(c.options.Stopping, cancel)()
	out, begun := http.NewResponseController(w), false
	err := c.api.Watch(ctx, &authmaterialv1.WatchCredentialStatesRequest{CredentialIds: shown}, func(message *authmaterialv1.WatchCredentialStatesResponse) error {
		if err := out.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/event-stream")
		begun = true
		for _, credential := range message.GetCredentials() {
			state := stateOf(credential.GetState())
			if err := send(w, stateEvent{credential.GetCredentialId(), state.Word, state.Class, credential.GetEtag()}); err != nil {
				return err
			}
		}
		for _, id := range message.GetRemoved() {
			if err := send(w, stateEvent{ID: id, Word: "Gone", Class: "off"}); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	if begun || ctx.Err() != nil {
		return nil // an error cannot be shown in a stream; the browser opens another one
	}
	return err
}

func send(w http.ResponseWriter, event stateEvent) error {
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "data: %s\n\n", data)
	return err
}
