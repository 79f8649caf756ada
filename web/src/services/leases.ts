// Calls about leases: the shapes of src/leasehold/wire/lease.py.
import { call } from "./api";

export interface Charge {
  units?: number;
  cpu_millicores?: number;
  memory_bytes?: number;
  disk_bytes?: number;
  devices?: Record<string, number>;
  locks?: Record<string, number>;
}

export interface LeaseOut {
  lease_id: string;
  addon_id: string;
  job_type: string;
  cost_units: number;
  charge: Charge;
  priority: string;
  state: string;
  granted_at: string;
  /** Of one's own alone. */
  fencing_token?: number;
  last_heartbeat_at?: string;
  expires_at?: string;
  ended_at?: string;
  end_reason?: string;
  label?: string;
  flags?: string[];
  constraints?: string[];
  on_busy?: string;
  on_lost?: string;
  bound?: { pid: number; role: string }[];
  cgroup?: string;
  enforced?: Record<string, unknown>;
  notice?: string;
  progress?: number;
  message?: string;
  running_sec?: number;
  stood_sec?: number;
  held_back?: string;
  held_back_at?: string;
  expected_left_sec?: number;
  usage?: Record<string, unknown>;
  asked_vs_used?: Record<string, unknown>;
  tenant?: string;
}

export interface WaiterOut {
  ticket: string;
  holder: string;
  job_type: string;
  cost_units: number;
  priority: string;
  position: number;
  waiting_sec: number;
  held: boolean;
  reason?: string;
  expected_start_sec?: number;
  label?: string;
}

export interface Status {
  active: LeaseOut[];
  waiting: WaiterOut[];
  ended: LeaseOut[];
}

const LEASE = "/api/scheduler/lease";

export function status(): Promise<Status> {
  return call("GET", "/api/scheduler/status");
}

export function one(id: string): Promise<LeaseOut> {
  return call("GET", `${LEASE}/${encodeURIComponent(id)}`);
}

export function act(id: string, what: "revoke" | "pause" | "resume", body: object): Promise<LeaseOut> {
  return call("POST", `${LEASE}/${encodeURIComponent(id)}/${what}`, body);
}

export function giveUp(ticket: string): Promise<void> {
  return call("DELETE", `/api/scheduler/ticket/${encodeURIComponent(ticket)}`);
}
