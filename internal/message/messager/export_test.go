package messager

import "wdpost/internal/endpoint"

// Over returns a Sender over the given functions in place of a connection.
func Over(cfg Config, api API) (*Sender, error) {
	ep, err := endpoint.Parse("/ip4/127.0.0.1/tcp/1/ws", "", service)
	if err != nil {
		return nil, err
	}
	s := over(cfg, ep)
	s.api = api
	return s, nil
}
