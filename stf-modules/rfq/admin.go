package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// system is what holds for the whole chain and changes:
//
//	paused u8, stale u8, admins u32, withdrawals u64, theses u64, markets u16
type system struct {
	paused      bool
	stale       bool   // the open block's oracle snapshot is
	admins      uint32 // accounts with the admin permission
	withdrawals uint64 // ids given out
	theses      uint64 // ids given out
	markets     uint16 // indexes given out
}

// systemBytes is the size of its record.
const systemBytes = 1 + 1 + 4 + 8 + 8 + 2

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func (m *Module) system(env *sdk.Env) (s system) {
	if b, ok := env.Get(m.plainKey(keySystem)); ok {
		s = system{paused: b[0] == 1, stale: b[1] == 1, admins: abi.U32(b[2:]), withdrawals: abi.U64(b[6:]), theses: abi.U64(b[14:]),
			markets: uint16(b[22]) | uint16(b[23])<<8}
	}
	return s
}

func (m *Module) setSystem(env *sdk.Env, s *system) {
	m.pause = unknown
	b := (*[systemBytes]byte)(m.event[:])
	b[0], b[1] = flag(s.paused), flag(s.stale)
	abi.PutU32(b[2:], s.admins)
	abi.PutU64(b[6:], s.withdrawals)
	abi.PutU64(b[14:], s.theses)
	b[22], b[23] = byte(s.markets), byte(s.markets>>8)
	env.Set(m.plainKey(keySystem), b[:])
}

// admin does what an action says. What has the asked-for effect already succeeds
// again. An admin may hand the permission on and give it up, but the last one
// cannot: nobody could ever change anything after that.
func (m *Module) admin(env *sdk.Env, ctx abi.Context, a *tx.AdminAction) abi.Code {
	switch a.Kind {
	case tx.GrantPermissions, tx.RevokePermissions:
		return m.changePermissions(env, a)
	case tx.PauseSystem, tx.UnpauseSystem:
		return m.pauseSystem(env, a.Kind == tx.PauseSystem)
	case tx.BlacklistAdd, tx.BlacklistRemove:
		return m.changeBlacklist(env, &a.Account, a.Kind == tx.BlacklistAdd)
	case tx.AddMarket:
		return m.addMarket(env, a)
	case tx.CancelThesis:
		return m.cancel(env, ctx, a.ThesisID)
	default:
		return m.changeMarket(env, a)
	}
}

func (m *Module) changePermissions(env *sdk.Env, a *tx.AdminAction) abi.Code {
	if a.Permissions == 0 || a.Permissions&^tx.PermAll != 0 {
		return env.Fail(CodeInvalidPermissions, env.Text("permission bits are ").U64(uint64(a.Permissions)).Str(", want 1 to ").U64(uint64(tx.PermAll)))
	}
	m.from.read(env, &a.Account)
	old := m.from.permissions()
	now := old | a.Permissions
	if a.Kind == tx.RevokePermissions {
		now = old &^ a.Permissions
	}
	if (old^now)&tx.PermAdmin != 0 {
		if code := m.countAdmin(env, now&tx.PermAdmin != 0); code != abi.CodeOK {
			return code
		}
	}
	m.from.buf[atPermissions] = now
	m.from.write(env)
	env.Emit(append(append(m.newEvent(EventPermissionsChanged), a.Account[:]...), now))
	return abi.CodeOK
}

// countAdmin keeps the number of admins, which never gets back to zero.
func (m *Module) countAdmin(env *sdk.Env, more bool) abi.Code {
	s := m.system(env)
	switch {
	case more:
		s.admins++
	case s.admins == 1:
		return env.Fail(CodeLastAdmin, env.Text("the last admin cannot be removed"))
	default:
		s.admins--
	}
	m.setSystem(env, &s)
	return abi.CodeOK
}

func (m *Module) pauseSystem(env *sdk.Env, paused bool) abi.Code {
	s := m.system(env)
	s.paused = paused
	m.setSystem(env, &s)
	env.Emit(abi.AppendBool(m.newEvent(EventSystemPaused), paused))
	return abi.CodeOK
}

func (m *Module) changeBlacklist(env *sdk.Env, account *tx.Address, add bool) abi.Code {
	m.from.read(env, account)
	m.from.buf[atFlags] &^= flagBlacklisted
	if add {
		m.from.buf[atFlags] |= flagBlacklisted
	}
	m.from.write(env)
	env.Emit(abi.AppendBool(append(m.newEvent(EventBlacklistChanged), account[:]...), add))
	return abi.CodeOK
}
