package clientworld

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/authmaterial/broker/gen/authmaterial/v1"
)

const defaultRefresh = 300 * time.Second

// item converts a state to the API's form, and remembers its secrets.
func (w *world) item(id string, s state) *authmaterialv1.WatchAuthDecorationsResponse {
	if s.Error != nil {
		return s.Error.item(id)
	}
	return &authmaterialv1.WatchAuthDecorationsResponse{
		CredentialId: id,
		State:        &authmaterialv1.WatchAuthDecorationsResponse_AuthDecoration{AuthDecoration: w.decoration(id, s)},
	}
}

func (w *world) decoration(id string, s state) *authmaterialv1.AuthDecoration {
	made := &authmaterialv1.AuthDecoration{CredentialId: id, Version: s.Version, RejectedStatuses: s.Rejected}
	if s.Rejected == nil {
		made.RejectedStatuses = []int32{401}
	}
	hosts, headers := s.Hosts, s.Headers
	if hosts == nil {
		hosts = []string{"{api}"}
	}
	for _, host := range hosts {
		made.AllowedHosts = append(made.AllowedHosts, w.expand(host))
	}
	if headers == nil && s.Query == nil {
		headers = []pair{{"Authorization", "Bearer secret-" + s.Version}}
	}
	for _, header := range headers {
		made.Headers = append(made.Headers, &authmaterialv1.Header{Name: header[0], Value: header[1]})
		w.secrets.add(header[1], made.AllowedHosts...)
	}
	for _, header := range s.IfAbsent {
		made.Headers = append(made.Headers, &authmaterialv1.Header{Name: header[0], Value: header[1], OnlyIfAbsent: true})
		w.secrets.add(header[1], made.AllowedHosts...)
	}
	for _, one := range s.RejectedWhen {
		made.RejectedWhen = append(made.RejectedWhen, one.RejectionCondition)
	}
	for _, param := range s.Query {
		made.QueryParams = append(made.QueryParams, &authmaterialv1.QueryParam{Name: param[0], Value: param[1]})
		w.secrets.add(param[1], made.AllowedHosts...)
	}
	refresh := defaultRefresh
	if s.Refresh.set {
		refresh = s.Refresh.Duration
	}
	made.RefreshTime = timestamppb.New(beginning.Add(refresh))
	if s.Expires.set {
		made.ExpireTime = timestamppb.New(beginning.Add(s.Expires.Duration))
	}
	return made
}

// expandIDs returns the IDs that a text such as "pendo" or "c1..c150" names.
func expandIDs(text string) []string {
	first, last, found := strings.Cut(text, "..")
	if !found {
		return []string{text}
	}
	prefix := strings.TrimRight(first, "0123456789")
	from, _ := strconv.Atoi(strings.TrimPrefix(first, prefix))
	to, _ := strconv.Atoi(strings.TrimPrefix(last, prefix))
	var all []string
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprintf("%s%d", prefix, n))
	}
	return all
}

// decorationJSON returns a decoration in the JSON format of Protocol Buffers.
func decorationJSON(d *authmaterialv1.AuthDecoration) ([]byte, error) { return protojson.Marshal(d) }
