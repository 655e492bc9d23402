// Written by `make types` from supabase/migrations; `make check` refuses it where it is not what they say.
export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  public: {
    Tables: {
      batch_generations: {
        Row: {
          completed_at: string | null;
          completed_count: number | null;
          created_at: string | null;
          failed_count: number | null;
          guidance_scale: number | null;
          height: number | null;
          id: string;
          model_id: string | null;
          model_version: string | null;
          name: string | null;
          status: string | null;
          steps: number | null;
          total_count: number;
          user_id: string | null;
          width: number | null;
        };
        ComputedFields: never;
        Insert: {
          completed_at?: string | null;
          completed_count?: number | null;
          created_at?: string | null;
          failed_count?: number | null;
          guidance_scale?: number | null;
          height?: number | null;
          id?: string;
          model_id?: string | null;
          model_version?: string | null;
          name?: string | null;
          status?: string | null;
          steps?: number | null;
          total_count: number;
          user_id?: string | null;
          width?: number | null;
        };
        Update: {
          completed_at?: string | null;
          completed_count?: number | null;
          created_at?: string | null;
          failed_count?: number | null;
          guidance_scale?: number | null;
          height?: number | null;
          id?: string;
          model_id?: string | null;
          model_version?: string | null;
          name?: string | null;
          status?: string | null;
          steps?: number | null;
          total_count?: number;
          user_id?: string | null;
          width?: number | null;
        };
        Relationships: [];
      };
      image_generations: {
        Row: {
          batch_id: string | null;
          batch_index: number | null;
          completed_at: string | null;
          created_at: string | null;
          error_code: string | null;
          error_message: string | null;
          generation_strength: number | null;
          generation_time_seconds: number | null;
          guidance_scale: number | null;
          height: number | null;
          id: string;
          model: string | null;
          model_id: string | null;
          negative_prompt: string | null;
          priority: number | null;
          prompt: string;
          replicate_prediction_id: string | null;
          retry_count: number | null;
          seed: number | null;
          source_image_url: string | null;
          started_at: string | null;
          status: string | null;
          steps: number | null;
          style: string | null;
          user_id: string | null;
          width: number | null;
        };
        ComputedFields: never;
        Insert: {
          batch_id?: string | null;
          batch_index?: number | null;
          completed_at?: string | null;
          created_at?: string | null;
          error_code?: string | null;
          error_message?: string | null;
          generation_strength?: number | null;
          generation_time_seconds?: number | null;
          guidance_scale?: number | null;
          height?: number | null;
          id?: string;
          model?: string | null;
          model_id?: string | null;
          negative_prompt?: string | null;
          priority?: number | null;
          prompt: string;
          replicate_prediction_id?: string | null;
          retry_count?: number | null;
          seed?: number | null;
          source_image_url?: string | null;
          started_at?: string | null;
          status?: string | null;
          steps?: number | null;
          style?: string | null;
          user_id?: string | null;
          width?: number | null;
        };
        Update: {
          batch_id?: string | null;
          batch_index?: number | null;
          completed_at?: string | null;
          created_at?: string | null;
          error_code?: string | null;
          error_message?: string | null;
          generation_strength?: number | null;
          generation_time_seconds?: number | null;
          guidance_scale?: number | null;
          height?: number | null;
          id?: string;
          model?: string | null;
          model_id?: string | null;
          negative_prompt?: string | null;
          priority?: number | null;
          prompt?: string;
          replicate_prediction_id?: string | null;
          retry_count?: number | null;
          seed?: number | null;
          source_image_url?: string | null;
          started_at?: string | null;
          status?: string | null;
          steps?: number | null;
          style?: string | null;
          user_id?: string | null;
          width?: number | null;
        };
        Relationships: [
          {
            foreignKeyName: "image_generations_batch_id_fkey";
            columns: ["batch_id"];
            isOneToOne: false;
            referencedRelation: "batch_generations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "image_generations_batch_id_fkey";
            columns: ["batch_id"];
            isOneToOne: false;
            referencedRelation: "batch_progress";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "image_generations_model_id_fkey";
            columns: ["model_id"];
            isOneToOne: false;
            referencedRelation: "models";
            referencedColumns: ["id"];
          },
        ];
      };
      image_tags: {
        Row: {
          added_at: string | null;
          id: string;
          image_id: string | null;
          tag_id: string | null;
        };
        ComputedFields: never;
        Insert: {
          added_at?: string | null;
          id?: string;
          image_id?: string | null;
          tag_id?: string | null;
        };
        Update: {
          added_at?: string | null;
          id?: string;
          image_id?: string | null;
          tag_id?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "image_tags_image_id_fkey";
            columns: ["image_id"];
            isOneToOne: false;
            referencedRelation: "images";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "image_tags_tag_id_fkey";
            columns: ["tag_id"];
            isOneToOne: false;
            referencedRelation: "tags";
            referencedColumns: ["id"];
          },
        ];
      };
      images: {
        Row: {
          archived_at: string | null;
          blurhash: string | null;
          created_at: string | null;
          download_count: number | null;
          file_size: number | null;
          filename: string;
          format: string | null;
          generation_id: string | null;
          generation_strength: number | null;
          height: number | null;
          id: string;
          is_black: boolean | null;
          is_favorite: boolean | null;
          is_public: boolean | null;
          model: string | null;
          model_version: string | null;
          negative_prompt: string | null;
          prompt: string;
          public_url: string | null;
          rating: number | null;
          saved_at: string | null;
          seed: number | null;
          source_image_id: string | null;
          storage_path: string;
          style: string | null;
          thumbnail_path: string | null;
          user_id: string | null;
          width: number | null;
        };
        ComputedFields: never;
        Insert: {
          archived_at?: string | null;
          blurhash?: string | null;
          created_at?: string | null;
          download_count?: number | null;
          file_size?: number | null;
          filename: string;
          format?: string | null;
          generation_id?: string | null;
          generation_strength?: number | null;
          height?: number | null;
          id?: string;
          is_black?: boolean | null;
          is_favorite?: boolean | null;
          is_public?: boolean | null;
          model?: string | null;
          model_version?: string | null;
          negative_prompt?: string | null;
          prompt: string;
          public_url?: string | null;
          rating?: number | null;
          saved_at?: string | null;
          seed?: number | null;
          source_image_id?: string | null;
          storage_path: string;
          style?: string | null;
          thumbnail_path?: string | null;
          user_id?: string | null;
          width?: number | null;
        };
        Update: {
          archived_at?: string | null;
          blurhash?: string | null;
          created_at?: string | null;
          download_count?: number | null;
          file_size?: number | null;
          filename?: string;
          format?: string | null;
          generation_id?: string | null;
          generation_strength?: number | null;
          height?: number | null;
          id?: string;
          is_black?: boolean | null;
          is_favorite?: boolean | null;
          is_public?: boolean | null;
          model?: string | null;
          model_version?: string | null;
          negative_prompt?: string | null;
          prompt?: string;
          public_url?: string | null;
          rating?: number | null;
          saved_at?: string | null;
          seed?: number | null;
          source_image_id?: string | null;
          storage_path?: string;
          style?: string | null;
          thumbnail_path?: string | null;
          user_id?: string | null;
          width?: number | null;
        };
        Relationships: [
          {
            foreignKeyName: "images_generation_id_fkey";
            columns: ["generation_id"];
            isOneToOne: false;
            referencedRelation: "image_generations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "images_source_image_id_fkey";
            columns: ["source_image_id"];
            isOneToOne: false;
            referencedRelation: "images";
            referencedColumns: ["id"];
          },
        ];
      };
      models: {
        Row: {
          cost_per_generation: number | null;
          created_at: string | null;
          default_guidance_scale: number | null;
          default_height: number | null;
          default_steps: number | null;
          default_strength: number | null;
          default_width: number | null;
          description: string | null;
          display_name: string;
          estimated_time_seconds: number | null;
          id: string;
          is_active: boolean | null;
          is_default: boolean | null;
          max_height: number | null;
          max_steps: number | null;
          max_width: number | null;
          min_height: number | null;
          min_width: number | null;
          name: string;
          replicate_id: string;
          sort_order: number | null;
          strength_max: number | null;
          strength_min: number | null;
          supported_aspect_ratios: Json | null;
          supports_image_to_image: boolean | null;
          supports_img2img: boolean | null;
          supports_negative_prompt: boolean | null;
          supports_seed: boolean | null;
          updated_at: string | null;
          version: string | null;
        };
        ComputedFields: never;
        Insert: {
          cost_per_generation?: number | null;
          created_at?: string | null;
          default_guidance_scale?: number | null;
          default_height?: number | null;
          default_steps?: number | null;
          default_strength?: number | null;
          default_width?: number | null;
          description?: string | null;
          display_name: string;
          estimated_time_seconds?: number | null;
          id?: string;
          is_active?: boolean | null;
          is_default?: boolean | null;
          max_height?: number | null;
          max_steps?: number | null;
          max_width?: number | null;
          min_height?: number | null;
          min_width?: number | null;
          name: string;
          replicate_id: string;
          sort_order?: number | null;
          strength_max?: number | null;
          strength_min?: number | null;
          supported_aspect_ratios?: Json | null;
          supports_image_to_image?: boolean | null;
          supports_img2img?: boolean | null;
          supports_negative_prompt?: boolean | null;
          supports_seed?: boolean | null;
          updated_at?: string | null;
          version?: string | null;
        };
        Update: {
          cost_per_generation?: number | null;
          created_at?: string | null;
          default_guidance_scale?: number | null;
          default_height?: number | null;
          default_steps?: number | null;
          default_strength?: number | null;
          default_width?: number | null;
          description?: string | null;
          display_name?: string;
          estimated_time_seconds?: number | null;
          id?: string;
          is_active?: boolean | null;
          is_default?: boolean | null;
          max_height?: number | null;
          max_steps?: number | null;
          max_width?: number | null;
          min_height?: number | null;
          min_width?: number | null;
          name?: string;
          replicate_id?: string;
          sort_order?: number | null;
          strength_max?: number | null;
          strength_min?: number | null;
          supported_aspect_ratios?: Json | null;
          supports_image_to_image?: boolean | null;
          supports_img2img?: boolean | null;
          supports_negative_prompt?: boolean | null;
          supports_seed?: boolean | null;
          updated_at?: string | null;
          version?: string | null;
        };
        Relationships: [];
      };
      prompt_templates: {
        Row: {
          category: string | null;
          created_at: string | null;
          id: string;
          is_public: boolean | null;
          name: string;
          negative_prompt: string | null;
          prompt: string;
          use_count: number | null;
          user_id: string | null;
        };
        ComputedFields: never;
        Insert: {
          category?: string | null;
          created_at?: string | null;
          id?: string;
          is_public?: boolean | null;
          name: string;
          negative_prompt?: string | null;
          prompt: string;
          use_count?: number | null;
          user_id?: string | null;
        };
        Update: {
          category?: string | null;
          created_at?: string | null;
          id?: string;
          is_public?: boolean | null;
          name?: string;
          negative_prompt?: string | null;
          prompt?: string;
          use_count?: number | null;
          user_id?: string | null;
        };
        Relationships: [];
      };
      tags: {
        Row: {
          color: string | null;
          created_at: string | null;
          created_by: string | null;
          id: string;
          name: string;
        };
        ComputedFields: never;
        Insert: {
          color?: string | null;
          created_at?: string | null;
          created_by?: string | null;
          id?: string;
          name: string;
        };
        Update: {
          color?: string | null;
          created_at?: string | null;
          created_by?: string | null;
          id?: string;
          name?: string;
        };
        Relationships: [];
      };
      user_rate_limits: {
        Row: {
          daily_generations_count: number | null;
          daily_generations_limit: number | null;
          daily_reset_at: string | null;
          hourly_generations_count: number | null;
          hourly_generations_limit: number | null;
          hourly_reset_at: string | null;
          last_generation_at: string | null;
          max_batch_size: number | null;
          max_concurrent_generations: number | null;
          total_generations_all_time: number | null;
          updated_at: string | null;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          daily_generations_count?: number | null;
          daily_generations_limit?: number | null;
          daily_reset_at?: string | null;
          hourly_generations_count?: number | null;
          hourly_generations_limit?: number | null;
          hourly_reset_at?: string | null;
          last_generation_at?: string | null;
          max_batch_size?: number | null;
          max_concurrent_generations?: number | null;
          total_generations_all_time?: number | null;
          updated_at?: string | null;
          user_id: string;
        };
        Update: {
          daily_generations_count?: number | null;
          daily_generations_limit?: number | null;
          daily_reset_at?: string | null;
          hourly_generations_count?: number | null;
          hourly_generations_limit?: number | null;
          hourly_reset_at?: string | null;
          last_generation_at?: string | null;
          max_batch_size?: number | null;
          max_concurrent_generations?: number | null;
          total_generations_all_time?: number | null;
          updated_at?: string | null;
          user_id?: string;
        };
        Relationships: [];
      };
    };
    Views: {
      batch_progress: {
        Row: {
          completed_count: number | null;
          failed_count: number | null;
          id: string;
          items: Json[] | null;
          processing_count: number | null;
          status: string | null;
          total_count: number;
          user_id: string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
    };
    Functions: {
      attach_provider_job: {
        Args: { p_generation_id: string; p_lease_id: string; p_provider: string; p_provider_job_id: string };
        Returns: undefined;
      };
      batch_details: { Args: { p_batch_id: string }; Returns: Json };
      batch_facts: { Args: { p_batch_ids: string[] }; Returns: Json };
      batch_manifest: { Args: { p_batch_id: string }; Returns: Json };
      batch_snapshot: { Args: { p_batch_id: string }; Returns: Json };
      batch_waits: {
        Args: { p_batch_id: string };
        Returns: {
          cap: number;
          detail: string;
          generation_id: string;
          position: number;
          reason: string;
          running: number;
          until: string;
        }[];
      };
      batches_page: {
        Args: { p_before?: string; p_limit?: number; p_search?: string; p_state?: string; p_tag?: string };
        Returns: Json;
      };
      batches_page_as: {
        Args: {
          p_before?: string;
          p_limit?: number;
          p_search?: string;
          p_state?: string;
          p_tag?: string;
          p_user_id: string;
        };
        Returns: Json;
      };
      begin_order: { Args: { p_generation_id: string; p_lease_id: string; p_order: Json }; Returns: string };
      cancel_batch: {
        Args: { p_batch_id: string; p_generation_ids?: string[]; p_waiting_only?: boolean };
        Returns: Json;
      };
      claim_generations: {
        Args: { p_lease_seconds: number; p_limit: number; p_worker: string };
        Returns: {
          attempt: number;
          batch_id: string;
          batch_index: number;
          estimated_seconds: number;
          generation_id: string;
          guidance_scale: number;
          had_picture: boolean;
          height: number;
          input_spec: Json;
          is_late: boolean;
          lease_expires_at: string;
          lease_id: string;
          model: string;
          model_provider: string;
          model_version: string;
          negative_prompt: string;
          order_key: string;
          ordered_inputs: Json;
          ordered_seconds_ago: number;
          prompt: string;
          provider: string;
          provider_job_id: string;
          retry_count: number;
          seed: number;
          steps: number;
          user_id: string;
          width: number;
        }[];
      };
      claim_generations_as_json: {
        Args: { p_about?: Json; p_lease_seconds: number; p_limit: number; p_worker: string };
        Returns: Json;
      };
      complete_and_claim: {
        Args: { p_lease_seconds: number; p_limit: number; p_results: Json; p_worker: string };
        Returns: Json;
      };
      complete_export: { Args: { p_export_id: string; p_lease_id: string; p_result: Json }; Returns: undefined };
      complete_generation: { Args: { p_generation_id: string; p_lease_id: string; p_result: Json }; Returns: Json };
      complete_generations: {
        Args: { p_results: Json };
        Returns: {
          generation_id: string;
          image_id: string;
          lease_id: string;
        }[];
      };
      create_batch: { Args: { p_request: Json }; Returns: Json };
      create_batch_as: { Args: { p_request: Json; p_user_id: string }; Returns: Json };
      create_schedule: { Args: { p_schedule: Json }; Returns: Json };
      create_schedule_as: { Args: { p_schedule: Json; p_user_id: string }; Returns: Json };
      credit_history: { Args: { p_before?: number; p_limit?: number; p_user_id?: string }; Returns: Json };
      delete_batch_images: { Args: { p_batch_id: string; p_generation_ids?: string[] }; Returns: Json };
      delete_batch_template: { Args: { p_template_id: string; p_user_id?: string }; Returns: Json };
      delete_schedule: { Args: { p_schedule_id: string }; Returns: Json };
      discard_files: {
        Args: { p_generation_id: string; p_paths?: string[]; p_seconds: number; p_user_id: string };
        Returns: undefined;
      };
      edit_schedule: { Args: { p_changes: Json; p_schedule_id: string }; Returns: Json };
      empty_trash: { Args: { p_user_id?: string }; Returns: Json };
      end_storage_deletions: { Args: { p_lease_ids: string[]; p_worker: string }; Returns: number };
      fail_export: { Args: { p_error: Json; p_export_id: string; p_lease_id: string }; Returns: undefined };
      fail_generation: { Args: { p_error: Json; p_generation_id: string; p_lease_id: string }; Returns: Json };
      generate_similar: {
        Args: { p_batch_id: string; p_client_key?: string; p_count?: number; p_generation_ids?: string[] };
        Returns: Json;
      };
      get_batch_rating: { Args: { p_batch_id: string }; Returns: Json };
      get_batch_template: { Args: { p_template_id: string; p_user_id?: string }; Returns: Json };
      get_costs: {
        Args: { p_batch_id?: string; p_by: string; p_limit?: number; p_since?: string };
        Returns: {
          attempts: number;
          key: string;
          name: string;
          paid: number;
          paid_usd: number;
          unknown: number;
          unknown_usd: number;
        }[];
      };
      get_credits: { Args: { p_user_id?: string }; Returns: Json };
      get_exports: { Args: { p_limit?: number }; Returns: Json };
      get_models: {
        Args: Record<PropertyKey, never>;
        Returns: {
          aspect_ratios: Json;
          default_height: number;
          default_width: number;
          description: string;
          display_name: string;
          estimated_seconds: number;
          guidance_scale: Json;
          height: Json;
          id: string;
          is_active: boolean;
          is_default: boolean;
          is_measured: boolean;
          least_seconds: number;
          max_height: number;
          max_steps: number;
          max_width: number;
          min_height: number;
          min_width: number;
          most_seconds: number;
          name: string;
          price_usd: number;
          provider: string;
          provider_model: string;
          replicate_id: string;
          sizes: Json;
          steps: Json;
          supports_negative_prompt: boolean;
          supports_seed: boolean;
          width: Json;
        }[];
      };
      get_schedule_runs: { Args: { p_before?: string; p_limit?: number; p_schedule_id: string }; Returns: Json };
      get_schedules: { Args: { p_before?: string; p_limit?: number; p_user_id?: string }; Returns: Json };
      get_trash: { Args: { p_before?: string; p_limit?: number; p_user_id?: string }; Returns: Json };
      get_user_limits: { Args: { p_user_id: string }; Returns: Json };
      get_workers: {
        Args: Record<PropertyKey, never>;
        Returns: {
          first_seen: string;
          is_live: boolean;
          last_seen: string;
          providers: string[];
          running: number;
          seconds_ago: number;
          version: string;
          worker: string;
        }[];
      };
      grant_credits: { Args: { p_credits: number; p_key?: string; p_note?: string; p_user_id: string }; Returns: Json };
      grant_monthly_credits: { Args: { p_limit?: number }; Returns: number };
      list_batch_templates: { Args: { p_user_id?: string }; Returns: Json };
      list_batches: {
        Args: { p_limit?: number; p_user_id?: string };
        Returns: {
          completed_at: string | null;
          completed_count: number | null;
          created_at: string | null;
          failed_count: number | null;
          guidance_scale: number | null;
          height: number | null;
          id: string;
          model_id: string | null;
          model_version: string | null;
          name: string | null;
          status: string | null;
          steps: number | null;
          total_count: number;
          user_id: string | null;
          width: number | null;
        }[];
        SetofOptions: {
          from: "*";
          to: "batch_generations";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      list_thumbnail: {
        Args: { p_image_id: string; p_storage_path: string; p_thumbnail_path: string };
        Returns: boolean;
      };
      move_credit_horizon: { Args: Record<PropertyKey, never>; Returns: boolean };
      note_credit_adjustment: {
        Args: { p_credits: number; p_key?: string; p_note: string; p_user_id: string };
        Returns: Json;
      };
      note_export_file: { Args: { p_export_id: string; p_lease_id: string; p_path: string }; Returns: undefined };
      pause_schedule: { Args: { p_schedule_id: string }; Returns: Json };
      plan_schedules: { Args: { p_plans: Json }; Returns: number };
      preview_batch: { Args: { p_request: Json }; Returns: Json };
      preview_batch_as: { Args: { p_request: Json; p_user_id: string }; Returns: Json };
      preview_schedule: { Args: { p_schedule_id: string }; Returns: Json };
      publish_batch_template: { Args: { p_is_public: boolean; p_template_id: string }; Returns: Json };
      queue_outlook: { Args: Record<PropertyKey, never>; Returns: Json };
      rate_batch: { Args: { p_batch_id: string; p_comment?: string; p_stars: number }; Returns: Json };
      rate_batch_images: { Args: { p_batch_id: string; p_generation_ids?: string[]; p_rating: number }; Returns: Json };
      release_generations: {
        Args: { p_lease_ids: string[]; p_worker: string };
        Returns: {
          generation_id: string;
          lease_id: string;
        }[];
      };
      release_generations_as_json: { Args: { p_lease_ids: string[]; p_worker: string }; Returns: Json };
      remove_expired_images: { Args: Record<PropertyKey, never>; Returns: number };
      rename_batch_template: { Args: { p_name: string; p_template_id: string; p_user_id?: string }; Returns: Json };
      renew_export: {
        Args: { p_done: number; p_export_id: string; p_lease_id: string; p_lease_seconds: number };
        Returns: undefined;
      };
      renew_leases: {
        Args: { p_lease_ids: string[]; p_lease_seconds: number; p_worker: string };
        Returns: {
          cancel_requested: boolean;
          lease_expires_at: string;
          lease_id: string;
        }[];
      };
      renew_leases_as_json: {
        Args: { p_lease_ids: string[]; p_lease_seconds: number; p_worker: string };
        Returns: Json;
      };
      request_export: { Args: { p_batch_ids: string[] }; Returns: Json };
      restore_batch_images: { Args: { p_batch_id: string; p_generation_ids?: string[] }; Returns: Json };
      resume_schedule: { Args: { p_schedule_id: string }; Returns: Json };
      retry_failed: { Args: { p_batch_id: string; p_edits?: Json; p_generation_ids?: string[] }; Returns: Json };
      return_expired_leases: { Args: Record<PropertyKey, never>; Returns: number };
      run_again: {
        Args: { p_batch_id: string; p_client_key?: string; p_generation_ids?: string[]; p_shared_settings?: Json };
        Returns: Json;
      };
      run_schedules: { Args: Record<PropertyKey, never>; Returns: Json };
      save_batch_images: { Args: { p_batch_id: string; p_generation_ids?: string[] }; Returns: Json };
      save_batch_template: { Args: { p_template: Json; p_user_id?: string }; Returns: Json };
      set_picture_access: { Args: { p_pictures: string }; Returns: Json };
      settle_order: { Args: { p_lease_id: string; p_order_key: string; p_outcome: Json }; Returns: boolean };
      tag_batch_images: { Args: { p_batch_id: string; p_generation_ids?: string[]; p_tags: string[] }; Returns: Json };
      take_export: { Args: { p_lease_seconds: number; p_worker: string }; Returns: Json };
      take_open_orders: {
        Args: { p_lease_seconds: number; p_limit: number; p_worker: string };
        Returns: {
          generation_id: string;
          inputs: Json;
          lease_id: string;
          model: string;
          order_key: string;
          ordered_seconds_ago: number;
          provider: string;
          provider_job_id: string;
          seed: number;
          version: string;
        }[];
      };
      take_open_orders_as_json: { Args: { p_lease_seconds: number; p_limit: number; p_worker: string }; Returns: Json };
      take_storage_deletions: {
        Args: { p_lease_seconds: number; p_limit: number; p_worker: string };
        Returns: {
          bucket_id: string;
          deletion_id: number;
          lease_id: string;
          path: string;
        }[];
      };
      take_storage_deletions_as_json: {
        Args: { p_lease_seconds: number; p_limit: number; p_worker: string };
        Returns: Json;
      };
      trash_batch_images: { Args: { p_batch_id: string; p_generation_ids?: string[] }; Returns: Json };
      untag_batch_images: {
        Args: { p_batch_id: string; p_generation_ids?: string[]; p_tags: string[] };
        Returns: Json;
      };
      update_public_urls: { Args: { p_after?: string; p_limit?: number; p_project_url: string }; Returns: Json };
      worker_start: { Args: Record<PropertyKey, never>; Returns: Json };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    keyof (DefaultSchema["Tables"] & DefaultSchema["Views"]) | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R;
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R;
      }
      ? R
      : never
    : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"] | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I;
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I;
      }
      ? I
      : never
    : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"] | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U;
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U;
      }
      ? U
      : never
    : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"] | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    keyof DefaultSchema["CompositeTypes"] | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never;

export const Constants = {
  public: {
    Enums: {},
  },
} as const;
