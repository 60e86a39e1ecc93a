// AES-GCM of intel-ipsec-mb as plain functions: its own interface is macros over a table of
// function pointers. Empty where the library does not exist (any machine but amd64). No logic.
//
// Threads: the direct GCM functions read the manager's function table and write nothing in the
// manager, so one manager, made once, serves all threads. Key data is read-only after
// `ipsecmb_gcm_expand`; context data belongs to one message at a time.
#ifndef CIPSECMB_H
#define CIPSECMB_H
#include <features.h>
#if defined(__x86_64__) && __has_include(<intel-ipsec-mb.h>)
#include <intel-ipsec-mb.h>
#include <stdbool.h>

typedef struct gcm_key_data ipsecmb_gcm_key;
typedef struct gcm_context_data ipsecmb_gcm_context;

// Picks the best code for this CPU. NULL when there is none.
static inline IMB_MGR *ipsecmb_manager(void) {
  IMB_MGR *manager = alloc_mb_mgr(0);
  if (manager == NULL) return NULL;
  init_mb_mgr_auto(manager, NULL);
  if (imb_get_errno(manager) == 0) return manager;
  free_mb_mgr(manager);
  return NULL;
}

// `wide`: a key of 32 bytes instead of 16. `key` is aligned to 64 bytes.
static inline void ipsecmb_gcm_expand(IMB_MGR *m, bool wide, const void *bytes,
                                      ipsecmb_gcm_key *key) {
  if (wide) IMB_AES256_GCM_PRE(m, bytes, key);
  else IMB_AES128_GCM_PRE(m, bytes, key);
}

// Computes the tag of what came in; comparing it is the caller's duty.
static inline void ipsecmb_gcm_open(IMB_MGR *m, bool wide, const ipsecmb_gcm_key *key,
                                    ipsecmb_gcm_context *context, uint8_t *to,
                                    const uint8_t *from, uint64_t count, const uint8_t *nonce,
                                    const uint8_t *aad, uint64_t aad_count, uint8_t *tag) {
  if (wide) IMB_AES256_GCM_DEC(m, key, context, to, from, count, nonce, aad, aad_count, tag, 16);
  else IMB_AES128_GCM_DEC(m, key, context, to, from, count, nonce, aad, aad_count, tag, 16);
}

static inline void ipsecmb_gcm_seal(IMB_MGR *m, bool wide, const ipsecmb_gcm_key *key,
                                    ipsecmb_gcm_context *context, uint8_t *to,
                                    const uint8_t *from, uint64_t count, const uint8_t *nonce,
                                    const uint8_t *aad, uint64_t aad_count, uint8_t *tag) {
  if (wide) IMB_AES256_GCM_ENC(m, key, context, to, from, count, nonce, aad, aad_count, tag, 16);
  else IMB_AES128_GCM_ENC(m, key, context, to, from, count, nonce, aad, aad_count, tag, 16);
}

static inline void ipsecmb_gcm_seal_start(IMB_MGR *m, bool wide, const ipsecmb_gcm_key *key,
                                          ipsecmb_gcm_context *context, const uint8_t *nonce,
                                          const uint8_t *aad, uint64_t aad_count) {
  if (wide) IMB_AES256_GCM_INIT(m, key, context, nonce, aad, aad_count);
  else IMB_AES128_GCM_INIT(m, key, context, nonce, aad, aad_count);
}

static inline void ipsecmb_gcm_seal_update(IMB_MGR *m, bool wide, const ipsecmb_gcm_key *key,
                                           ipsecmb_gcm_context *context, uint8_t *to,
                                           const uint8_t *from, uint64_t count) {
  if (wide) IMB_AES256_GCM_ENC_UPDATE(m, key, context, to, from, count);
  else IMB_AES128_GCM_ENC_UPDATE(m, key, context, to, from, count);
}

static inline void ipsecmb_gcm_seal_finish(IMB_MGR *m, bool wide, const ipsecmb_gcm_key *key,
                                           ipsecmb_gcm_context *context, uint8_t *tag) {
  if (wide) IMB_AES256_GCM_ENC_FINALIZE(m, key, context, tag, 16);
  else IMB_AES128_GCM_ENC_FINALIZE(m, key, context, tag, 16);
}
#endif
#endif
