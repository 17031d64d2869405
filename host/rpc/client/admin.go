package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Admin asks a running node for something that is its operator's alone: POST
// /admin/name with the token of its data directory. There is no timeout but
// ctx's, because a snapshot may take minutes.
func (c *Client) Admin(ctx context.Context, token, name string, params, result any) error {
	body, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("admin %s: parameters: %w", name, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/admin/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	b, status, err := do(c.http, r)
	switch {
	case err != nil:
		return fmt.Errorf("admin %s at %s: %w", name, c.base, err)
	case status != http.StatusOK:
		return c.adminRefused(name, status, b)
	}
	if err := json.Unmarshal(b, result); err != nil {
		return fmt.Errorf("admin %s at %s: answer: %w", name, c.base, err)
	}
	return nil
}

func (c *Client) adminRefused(name string, status int, b []byte) error {
	a, ok := readAnswer(b)
	if !ok || a.err == nil {
		return fmt.Errorf("admin %s at %s: %w: HTTP %d with %.120q", name, c.base, ErrUnreachable, status, trimmed(b))
	}
	return c.refused("admin "+name, a.err)
}
